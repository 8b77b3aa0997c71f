// jsforce as an application uses it: web server flow with PKCE, refresh, records, pages of a query.
import jsforce from "jsforce";
import { answer } from "./dialogue.mjs";

let oauth2;
let connection;
let refreshed = 0;

function connect(tokens) {
  connection = new jsforce.Connection({ oauth2, version: "66.0", ...tokens });
  connection.on("refresh", () => {
    refreshed += 1;
  });
}

answer({
  configure: ({ loginUrl, clientId, clientSecret, redirectUri, useVerifier }) => {
    oauth2 = new jsforce.OAuth2({ loginUrl, clientId, clientSecret, redirectUri, useVerifier });
    return { verifierLength: oauth2.codeVerifier ? oauth2.codeVerifier.length : 0 };
  },
  authorizeUrl: ({ scope, state }) => oauth2.getAuthorizationUrl({ scope, state }),
  login: async ({ code }) => {
    connect({});
    const user = await connection.authorize(code);
    return {
      user,
      accessToken: connection.accessToken,
      refreshToken: connection.refreshToken,
      instanceUrl: connection.instanceUrl,
    };
  },
  requestToken: ({ code }) => oauth2.requestToken(code),
  refreshToken: ({ token }) => oauth2.refreshToken(token),
  resume: (tokens) => connect(tokens),
  identity: () => connection.identity(),
  create: ({ type, fields }) => connection.sobject(type).create(fields),
  retrieve: ({ type, id }) => connection.sobject(type).retrieve(id),
  update: ({ type, fields }) => connection.sobject(type).update(fields),
  destroy: ({ type, id }) => connection.sobject(type).destroy(id),
  upsert: ({ type, fields, key }) => connection.sobject(type).upsert(fields, key),
  query: ({ soql }) => connection.query(soql),
  queryMore: ({ url }) => connection.queryMore(url),
  queryEvery: async ({ soql }) => {
    const records = [];
    await new Promise((resolve, reject) => {
      connection
        .query(soql)
        .on("record", (record) => records.push(record.Id))
        .on("end", resolve)
        .on("error", reject)
        .run({ autoFetch: true, maxFetch: 10000 });
    });
    return records;
  },
  find: ({ type, conditions, fields }) => connection.sobject(type).find(conditions, fields),
  describe: ({ type }) => connection.sobject(type).describe(),
  describeGlobal: () => connection.describeGlobal(),
  composite: ({ body }) => connection.requestPost("/services/data/v66.0/composite", body),
  tooling: ({ soql }) => connection.tooling.query(soql),
  limits: () => connection.limitInfo,
  refreshed: () => refreshed,
  logout: () => connection.logout(true),
});
