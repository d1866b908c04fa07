/** The STUN and TURN servers that a gateway names in its answers (RFC 9725, section 4.6). */

const LINK = /<([^<>]*)>((?:\s*;\s*[\w-]+\s*=\s*"[^"]*")*)/g; // RFC 8288, as gateways write it
const PARAMETER = /([\w-]+)\s*=\s*"([^"]*)"/g;
const MOST = 16;

/**
 * Of a `Link` header, the servers that ICE may ask.
 * @param {string | null} header  all links, joined by commas as `Headers.get` does
 * @returns {RTCIceServer[]}
 */
export function iceServers(header) {
  const servers = [];
  for (const [, urls, written] of (header ?? "").matchAll(LINK)) {
    const given = new Map([...written.matchAll(PARAMETER)].map(([, name, value]) => [name, value]));
    if (given.get("rel") !== "ice-server" || !/^(stun|turn)s?:/.test(urls)) continue;
    const [username, credential] = [given.get("username"), given.get("credential")];
    servers.push(username && credential ? { urls, username, credential } : { urls });
  }
  return servers.slice(0, MOST);
}
