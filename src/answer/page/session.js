// Who looks, where that has to be said: the form to sign in by a token, and the way out. Every question of the page is asked through `ask`.
import { write } from "./words.js";

const $ = (id) => document.getElementById(id);
const PATH = "api/v1/session";
/** A sentence of the daemon's, as people begin and end one; what to do is on the form. */
const sentence = (message) => message.replace(/; hint: .*/, ".").replace(/^./, (first) => first.toUpperCase());

/** Who has signed in, if anybody had to. */
export let user;

/** Asks the daemon, and shows the form where it wants to know who asks. */
export async function ask(path) {
  const answer = await fetch(path);
  if (answer.status === 401) demand(await answer.clone().json().catch(() => ({})));
  return answer;
}

/** Says who has signed in, and lets him out. */
export async function greet() {
  const answer = await ask(PATH);
  if (!answer.ok) return;
  const session = await answer.json();
  user = session.user;
  $("leave").hidden = !session.canLeave;
  $("leave").title = `Signed in as ${user}`;
}

function demand({ message = "this page wants a token" }) {
  if (document.body.classList.contains("stranger")) return;
  document.body.classList.add("stranger");
  $("leave").hidden = true;
  write($("sign-said"), sentence(message));
  // Where a token has to be made for this page, the daemon's hint says how.
  write($("audience"), message.match(/ --audience=\S+/)?.[0] ?? "");
  $("sign").hidden = false;
  $("token").focus();
}

async function send(how) {
  const answer = await fetch(PATH, how).catch(() => null);
  // What was shown before is another's, or may be.
  if (answer?.ok) return location.reload();
  const said = await answer?.json().catch(() => null);
  write($("sign-said"), sentence(said?.message ?? "the daemon does not answer; hint: try again"));
}

$("sign").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = $("token").value;
  $("token").value = "";
  send({ method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ token }) });
});
$("leave").addEventListener("click", () => send({ method: "DELETE" }));
