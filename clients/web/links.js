/** What a gateway's answers link to: STUN and TURN servers, and the realm's other gateways. */

const LINK = /<([^<>]*)>((?:\s*;\s*[\w-]+\s*=\s*"[^"]*")*)/g; // RFC 8288, as gateways write it
const PARAMETER = /([\w-]+)\s*=\s*"([^"]*)"/g;
const MOST = 16;

/**
 * The servers that ICE may ask (RFC 9725, section 4.6).
 * @param {string | null} header  all `Link`s, joined by commas as `Headers.get` does
 * @returns {RTCIceServer[]}
 */
export function iceServers(header) {
  const servers = [];
  for (const { target: urls, given } of links(header, "ice-server")) {
    if (!/^(stun|turn)s?:/.test(urls)) continue;
    const [username, credential] = [given.get("username"), given.get("credential")];
    servers.push(username && credential ? { urls, username, credential } : { urls });
  }
  return servers;
}

/**
 * The realm's other gateways, by their origins.
 * @param {string | null} header  as above
 * @returns {string[]}
 */
export function otherGateways(header) {
  const targets = links(header, "alternate").map(({ target }) => target);
  return targets.filter((target) => /^https?:/.test(target) && URL.canParse(target))
    .map((target) => new URL(target).origin);
}

/**
 * @param {string | null} header
 * @param {string} rel
 */
function links(header, rel) {
  const found = [...(header ?? "").matchAll(LINK)].map(([, target, written]) => ({
    target,
    given: new Map([...written.matchAll(PARAMETER)].map(([, name, value]) => [name, value])),
  }));
  return found.filter(({ given }) => given.get("rel") === rel).slice(0, MOST);
}
