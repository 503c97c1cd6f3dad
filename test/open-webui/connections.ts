/** What the admin pastes into Open WebUI, and what Berth is told about it. */

const keys = { trusted: 'e2e-trusted-0123456789', signed: 'e2e-signed-0123456789' };
const jwtSecret = 'e2e-jwt-secret-0123456789';
export const sessionSecret = 'e2e-session-secret-0123456789';

const everybody = {
  enable: true,
  function_name_filter_list: '',
  access_grants: [{ principal_type: 'user', principal_id: '*', permission: 'read' }],
};

export interface Connection {
  readonly info: { readonly id: string };
  readonly [setting: string]: unknown;
}

/** One connection for each way to tell users apart: plain headers, a signed token, the user's own token. */
export function connections(berth: string): readonly Connection[] {
  const base = { type: 'mcp', url: `${berth}/mcp`, path: '', config: everybody };
  const info = (id: string) => ({ id, name: id, description: '' });
  const user = { 'X-OpenWebUI-User-Id': '{{USER_ID}}', 'X-OpenWebUI-User-Groups': '{{USER_GROUPS}}' };
  const chat = { 'X-OpenWebUI-Chat-Id': '{{CHAT_ID}}', 'X-OpenWebUI-Message-Id': '{{MESSAGE_ID}}' };
  return [
    { ...base, auth_type: 'bearer', key: keys.trusted, headers: { ...user, ...chat }, info: info('sandbox') },
    { ...base, auth_type: 'bearer', key: keys.signed, headers: chat, info: info('signed') },
    { ...base, auth_type: 'session', key: '', headers: chat, info: info('own') },
  ];
}

export const openWebUiSettings = {
  WEBUI_SECRET_KEY: sessionSecret,
  ENABLE_FORWARD_USER_INFO_HEADERS: 'true',
  FORWARD_USER_INFO_HEADER_JWT_SECRET: jwtSecret,
  // A reply outlasts its token soon.
  FORWARD_USER_INFO_HEADER_JWT_EXPIRES_SECONDS: '20',
};

/** Berth as it is reached through the recorder, and Open WebUI as Berth reaches it. */
export function berthSettings(publicUrl: string, webui: string): Record<string, string> {
  return {
    BERTH_AUTH__KEYS: JSON.stringify([
      { name: 'trusted', key: keys.trusted, users: 'headers' },
      { name: 'signed', key: keys.signed, users: 'signed' },
    ]),
    BERTH_OPEN_WEBUI__JWT_SECRET: jwtSecret,
    BERTH_OPEN_WEBUI__SESSION_SECRET: sessionSecret,
    BERTH_OPEN_WEBUI__URL: webui,
    BERTH_OPEN_WEBUI__PROGRESS: 'true',
    BERTH_AUTH__GROUPS: JSON.stringify({ builders: { templates: ['base'] } }),
    BERTH_SERVER__PUBLIC_URL: publicUrl,
    BERTH_LOGGING__LEVEL: 'info',
  };
}
