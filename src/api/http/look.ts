/** The style of the pages people see: plain, and readable in the dark. */
export const look = `
:root { color-scheme: light dark; --line: #8885; --soft: #8882; --good: #2a8f4f; --bad: #c83a3a; --accent: #3b6fd4; }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; display: grid; min-height: 100vh; place-items: center; padding: 1rem; }
main { width: min(36rem, 100%); }
h1 { font-size: 1.3rem; margin: 0 0 .25rem; }
p { margin: .25rem 0 1rem; }
.drop { border: 2px dashed var(--line); border-radius: .75rem; padding: 2.5rem 1rem; text-align: center; cursor: pointer; display: block; }
.drop:hover, .drop.over, .drop:focus-within { border-color: var(--accent); background: var(--soft); }
.drop input { position: absolute; opacity: 0; width: 1px; height: 1px; }
ul { list-style: none; padding: 0; margin: 1rem 0 0; display: grid; gap: .5rem; }
li { border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .75rem; display: grid; grid-template-columns: 1fr auto; gap: .1rem .75rem; }
li .name { overflow-wrap: anywhere; } li .note { grid-column: 1 / -1; font-size: .875rem; opacity: .8; }
li progress { grid-column: 1 / -1; width: 100%; height: .5rem; accent-color: var(--accent); }
li.done .state { color: var(--good); } li.failed .state, li.failed .note { color: var(--bad); opacity: 1; }
button { font: inherit; padding: .1rem .6rem; border-radius: .4rem; border: 1px solid var(--line); background: var(--soft); cursor: pointer; }
`;
