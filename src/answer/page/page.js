// The page: where one is, which keys do what, and who draws what. Data comes from `live`, views from `list`, `pipeline` and `drawer`.
import { greet } from "./session.js";
import { Live } from "./live.js";
import { List } from "./list.js";
import { Pipeline } from "./pipeline.js";
import { Drawer } from "./drawer.js";
import { Capacity } from "./capacity.js";
import { address, el, write } from "./words.js";

const $ = (id) => document.getElementById(id);
const live = new Live();
const list = new List(live, (id) => { location.hash = address(...id.split("/")); });
const pipeline = new Pipeline(live);
const drawer = new Drawer();
const capacity = new Capacity();

/** Where one is: nothing, `capacity`, a pipeline, or a stage of it. */
let path = [];
let scrolled = 0;

function route() {
  if (location.hash && !location.hash.startsWith("#/")) return;
  const before = path;
  path = location.hash.slice(2).split("/").filter(Boolean).map(decodeURIComponent);
  const [namespace, name, stage] = path;
  const isOne = path.length >= 2;
  if (!before.length && path.length) scrolled = scrollY;
  const isCapacity = path.length === 1 && namespace === "capacity";
  $("fleet").hidden = isOne || isCapacity;
  $("one").hidden = !isOne;
  capacity.show(isCapacity);
  document.title = isCapacity ? "Nodes and budgets · Penstock" : isOne ? `${[stage, name].filter(Boolean).join(" · ")} · Penstock` : "Penstock";
  $("crumbs").replaceChildren(...(isCapacity ? [el("a", { href: "#/capacity" }, "Nodes and budgets")] : isOne ? [el("a.wide", { href: "#/" }, namespace), el("a", { href: address(namespace, name) }, name)] : []));
  const focus = isOne ? `${namespace}/${name}` : null;
  if (!live.isOpen || focus !== live.focus) live.open(focus);
  if (isOne) {
    if (`${before[0]}/${before[1]}` !== focus) scrollTo({ top: 0 });
    pipeline.show(focus, stage);
  } else if (isCapacity) {
    document.body.classList.remove("beside");
    scrollTo({ top: 0 });
  } else {
    document.body.classList.remove("beside");
    list.refresh();
    if (before.length) scrollTo({ top: scrolled });
  }
  drawer.show(path.length >= 3 ? [namespace, name, stage] : null);
  // Who listens is told that the view is another one; who came from the drawer stays in the picture.
  if (before.length && before.length !== path.length && !stage) (before.length === 3 && $("one").querySelector(`a[href="${CSS.escape(address(...before))}"]`) || $("main")).focus({ preventScroll: true });
}

let pending = false;
function soon(draw) {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => { pending = false; draw(); });
}
live.addEventListener("rows", () => soon(() => { list.refresh(); pipeline.refresh(); mark(); }));
live.addEventListener("whole", () => { pipeline.refresh(true); drawer.refresh(); });
live.addEventListener("state", ({ detail: { state, why } }) => {
  $("live").dataset.state = state;
  write($("live").lastElementChild, { live: "live", cut: "no connection", polling: "every 5 s" }[state]);
  $("live").title = why ?? { live: "Shows each turn as it comes", cut: "The daemon does not answer; it is tried again", polling: "All places for live pages are taken; asked every 5 s" }[state];
});
live.addEventListener("rows", () => greet().then(() => list.refresh(), () => {}), { once: true });

/** When the lines were first on screen: for whoever measures. */
function mark() {
  if (performance.getEntriesByName("lines").length || !live.rows.size) return;
  requestAnimationFrame(() => performance.mark("lines"));
}

function theme() {
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (isDark ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  // The system's own choice needs no word.
  if ((next === "dark") === isDark) { delete document.documentElement.dataset.theme; localStorage.removeItem("theme"); }
  else { document.documentElement.dataset.theme = next; localStorage.setItem("theme", next); }
}

function back() {
  if (path.length >= 3) location.hash = address(path[0], path[1]);
  else if (path.length) location.hash = "#/";
  else list.clear();
}

$("theme").addEventListener("click", theme);
$("ask").addEventListener("click", () => $("keys").showModal());
addEventListener("hashchange", route);
addEventListener("keydown", (event) => {
  if (event.metaKey || event.ctrlKey || event.altKey || $("keys").open || document.body.classList.contains("stranger")) return;
  const isTyping = event.target.closest?.("input, select, textarea");
  if (isTyping) {
    if (event.key === "Escape") { if (event.target.value) list.clear(); event.target.blur(); event.preventDefault(); }
    else if (event.key === "Enter" && event.target.id === "search") { event.target.blur(); list.step(0); }
    return;
  }
  const nothing = { step() {}, enter() {} };
  const view = path.length >= 2 ? pipeline : path.length ? nothing : list;
  const isOnLink = event.target.closest?.("a, button");
  const act = {
    "/": () => { if (path.length) location.hash = "#/"; $("search").focus(); $("search").select(); },
    j: () => view.step(1),
    k: () => view.step(-1),
    Enter: isOnLink ? null : () => view.enter(),
    Escape: back,
    t: theme,
    "?": () => $("keys").showModal(),
  }[event.key];
  if (act) { event.preventDefault(); act(); }
});

route();
// Is there anything to see of nodes and budgets?
if (path[0] !== "capacity") capacity.refresh();
