// A real OpenID Connect provider on loopback: node server.js PORT REDIRECT_URI. Whoever types an address is that person.
import Provider from "oidc-provider";

const [port, redirectUri] = process.argv.slice(2);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: "rota",
    client_secret: "a secret between the two",
    redirect_uris: [redirectUri],
    application_type: "native",
  }],
  pkce: { required: () => true },
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name", "groups"] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: id, email_verified: true, name: id.split("@")[0], groups: ["operators"] }),
  }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
