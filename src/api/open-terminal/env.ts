import type { HttpEnv } from '../http/env.ts';
import type { Key } from '../../identity/key.ts';

/** What the panes' routes know of a request besides what every route does. */
export interface PaneEnv {
  Bindings: HttpEnv['Bindings'];
  Variables: HttpEnv['Variables'] & {
    /** The sandbox that the request means. */
    key: Key;
    /** The template that the path names, for a sandbox that is yet to be made. */
    template: string | undefined;
  };
}
