// A certified authorization server for the tests: `node server.mjs CONFIGURATION.json`.
//
// The configuration: port (0 takes any), clients (as oidc-provider takes them, and `persona`: what their tokens say in
// the claim of that name), keys (private JWKs), algorithm (of signatures), seconds (that tokens live). Tokens are made
// for whatever resource a client names. It says on stdout where it listens, and ends with its stdin.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const { port, clients, keys, algorithm, seconds } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const personas = new Map(clients.map(({ client_id, persona }) => [client_id, persona]));

const server = createServer();
server.listen(port, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: clients.map(({ persona, ...client }) => ({
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      id_token_signed_response_alg: algorithm,
      ...client,
    })),
    jwks: { keys },
    scopes: ['scale'],
    extraTokenClaims: (ctx, token) => ({ persona: personas.get(token.clientId) }),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (ctx, resource) => ({
          audience: resource,
          scope: 'scale',
          accessTokenFormat: 'jwt',
          accessTokenTTL: seconds,
          jwt: { sign: { alg: algorithm } },
        }),
      },
    },
  });
  provider.on('server_error', (ctx, error) => console.error(error));
  server.on('request', provider.callback());
  console.log(JSON.stringify({ issuer }));
});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
