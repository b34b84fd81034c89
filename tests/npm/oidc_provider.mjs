// A real OpenID provider for the tests: whoever PUT /persona names is signed in, without forms; PUT /keys/ID gives it another key.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [port, redirectUri] = [Number(process.argv[2]), process.argv[3]];
const issuer = `http://127.0.0.1:${port}`;
let persona = {};

const makeProvider = (kid) => new Provider(issuer, {
  jwks: { keys: [{ ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }), kid }] },
  clients: [{
    client_id: 'molecatcher', client_secret: 'secret-of-the-client', redirect_uris: [redirectUri],
    backchannel_logout_uri: new URL('/sign-in/back-channel-logout', redirectUri).href,
    backchannel_logout_session_required: true,
  }],
  claims: {
    openid: ['sub', 'acr', 'amr', 'auth_time', 'groups', 'preferred_username'],
  },
  acrValues: ['urn:example:gold', 'urn:example:silver'],
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  features: { devInteractions: { enabled: false }, rpInitiatedLogout: { enabled: true }, backchannelLogout: { enabled: true } },
  cookies: { keys: ['only for tests'] },
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_ctx, id) => ({
    accountId: id,
    claims: () => ({ sub: id, groups: persona.groups, preferred_username: persona.name }),
  }),
});
let provider = makeProvider('1');

async function interact(req, res) {
  const { grantId, params } = await provider.interactionDetails(req, res);
  if (persona.denies) {
    return provider.interactionFinished(req, res, { error: 'access_denied', error_description: 'not today' });
  }
  const grant = grantId
    ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: persona.sub, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  const login = { accountId: persona.sub, amr: persona.amr, acr: persona.acr, remember: false };
  if (persona.ts) login.ts = persona.ts;
  return provider.interactionFinished(req, res, { login, consent: { grantId: await grant.save() } });
}

createServer(async (req, res) => {
  try {
    if (req.method === 'PUT' && req.url === '/persona') {
      let body = '';
      for await (const part of req) body += part;
      persona = JSON.parse(body);
      res.end();
    } else if (req.method === 'PUT' && req.url.startsWith('/keys/')) {
      provider = makeProvider(req.url.slice('/keys/'.length));
      res.end();
    } else if (req.url.startsWith('/interaction/')) {
      await interact(req, res);
    } else {
      provider.callback()(req, res);
    }
  } catch (error) {
    console.error(error);
    res.writeHead(500).end(String(error));
  }
}).listen(port, '127.0.0.1', () => console.log('ready'));
