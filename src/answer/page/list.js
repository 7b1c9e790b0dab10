// All pipelines: how many are how, what needs a look, and the table. Of the table only the lines in sight exist, so that a thousand
// pipelines scroll as ten do.
import { user } from "./session.js";
import { MOODS, address, concern, el, keep, meter, mood, moodWord, number, plural, rank, write } from "./words.js";

const $ = (id) => document.getElementById(id);
/** Lines kept above and below those in sight. */
const SPARE = 8;
/** Concerns shown at first. */
const FEW = 5;
/** What many pipelines are because somebody wanted it, in words. */
const WANTED = {
  Observed: "decided and reported, and nothing is written: mode Observe",
  Paused: "paused by annotation: nothing is written, or in one direction only",
  PinnedByAnnotation: "penstock.dev/paused-replicas states their count",
};

const share = (row) => row.delaySeconds === undefined || !row.objectiveSeconds ? -1 : row.delaySeconds / row.objectiveSeconds;
const byName = (a, b) => a.namespace < b.namespace ? -1 : a.namespace > b.namespace ? 1 : a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
const by = (value) => (a, b) => value(b) - value(a) || byName(a, b);
/** Heads: what is written, how it sorts (downwards first), and whether it is a number. */
const HEADS = [
  ["Pipeline", (a, b) => byName(b, a)],
  ["State", (a, b) => rank[a.state] - rank[b.state] || share(b) - share(a) || byName(a, b)],
  ["Delay", by(share)],
  ["Waiting", by((row) => row.lag ?? -1)],
  ["In", by((row) => row.arrivalRate ?? -1)],
  ["Replicas", by((row) => row.desired)],
  ["Why", (a, b) => (a.reason ?? "") < (b.reason ?? "") ? 1 : (a.reason ?? "") > (b.reason ?? "") ? -1 : byName(a, b)],
];

export class List {
  #live;
  #open;
  #shown = [];
  #only = null;
  #sort = [1, 1];
  #selected = null;
  #all = false;

  constructor(live, open) {
    this.#live = live;
    this.#open = open;
    $("heads").append(...HEADS.map(([head], at) => el("th", { scope: "col" }, el("button", { type: "button", onclick: () => this.#sortBy(at) }, head))));
    $("search").addEventListener("input", () => { scrollTo({ top: Math.min(scrollY, this.#top()) }); this.refresh(); });
    $("namespace").addEventListener("change", () => this.refresh());
    $("attention-more").addEventListener("click", () => { this.#all = !this.#all; this.refresh(); });
    addEventListener("scroll", () => this.#lines(), { passive: true });
    addEventListener("resize", () => this.#lines());
    $("rows").addEventListener("click", (event) => {
      const id = event.target.closest("tr")?.dataset.id;
      if (id && !event.target.closest("a")) this.#open(id);
    });
  }

  /** Everything anew, from what is known. */
  refresh() {
    if ($("fleet").hidden) return;
    const rows = [...this.#live.rows.values()];
    this.#moods(rows);
    this.#concerns(rows);
    this.#namespaces(rows);
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const namespace = $("namespace").value;
    const text = (row) => `${row.namespace}/${row.name} ${row.reason ?? ""} ${moodWord(row)}`.toLowerCase();
    const [column, way] = this.#sort;
    this.#shown = rows
      .filter((row) => (!namespace || row.namespace === namespace) && (!this.#only || row.state === this.#only))
      .filter((row) => !words.length || words.every((word) => text(row).includes(word)))
      .sort((a, b) => way * HEADS[column][1](a, b));
    [...$("heads").children].forEach((head, at) => at === column ? head.setAttribute("aria-sort", way > 0 ? "descending" : "ascending") : head.removeAttribute("aria-sort"));
    write($("count"), rows.length === this.#shown.length ? rows.length.toLocaleString("en") : `${this.#shown.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`);
    $("none").hidden = this.#shown.length > 0;
    write($("none"), rows.length ? "No pipeline is like that." : user ? `There is no ScaledPipeline that ${user} may list.` : "There is no ScaledPipeline yet. Apply one, and it shows up here within a second.");
    $("pipelines").hidden = !this.#shown.length;
    this.#lines();
  }

  /** Selects the line that is so many after the selected one. */
  step(by) {
    const at = this.#shown.findIndex((row) => id(row) === this.#selected);
    const next = Math.max(0, Math.min(this.#shown.length - 1, at < 0 ? 0 : at + by));
    if (!this.#shown[next]) return;
    this.#selected = id(this.#shown[next]);
    const height = this.#height(), top = this.#top() + next * height;
    if (top < scrollY + 60) scrollTo({ top: top - 60 });
    else if (top + height > scrollY + innerHeight) scrollTo({ top: top + height - innerHeight + 12 });
    this.#lines();
    $("rows").querySelector('[aria-selected="true"] a')?.focus({ preventScroll: true });
  }

  /** Opens the selected line, if there is one. */
  enter() {
    if (this.#selected) this.#open(this.#selected);
  }

  /** Forgets filters, from the narrowest to the widest; false when there was none. */
  clear() {
    if ($("search").value || $("namespace").value || this.#only) {
      [$("search").value, $("namespace").value, this.#only] = ["", "", null];
      this.refresh();
      return true;
    }
    return false;
  }

  #sortBy(column) {
    this.#sort = [column, this.#sort[0] === column ? -this.#sort[1] : 1];
    this.refresh();
  }

  #moods(rows) {
    const counts = {};
    for (const row of rows) counts[row.state] = 1 + (counts[row.state] ?? 0);
    if (this.#only && !counts[this.#only]) this.#only = null;
    keep($("moods"), MOODS.filter(([state]) => counts[state]), ([state]) => state, ([state, kind, word]) => {
      const count = el("b");
      const button = el("button", { type: "button", onclick: () => { this.#only = this.#only === state ? null : state; this.refresh(); } }, el(`span.dot.${kind}`), count, word);
      button.count = count;
      return button;
    }, (button, [state]) => {
      write(button.count, counts[state].toLocaleString("en"));
      button.setAttribute("aria-pressed", String(this.#only === state));
    });
  }

  #concerns(rows) {
    // One line for each cause in a pipeline, and one for all pipelines that are so because somebody wanted it.
    const lines = new Map();
    for (const row of rows) for (const item of row.concerns ?? []) {
      const key = item.severity === "Note" ? item.code : `${id(row)}/${item.code}`;
      const line = lines.get(key);
      if (line) { line.more += item.severity === "Note" && line.row === row ? 0 : 1; line.row = row; }
      else lines.set(key, { ...item, key, row, first: row, more: 0 });
    }
    const all = [...lines.values()].sort((a, b) => rank[a.severity] - rank[b.severity] || byName(a.first, b.first));
    $("attention").hidden = !all.length;
    const shown = this.#all ? all.slice(0, 200) : all.slice(0, FEW);
    keep($("concerns"), shown, (item) => item.key, concern, (line, item) => {
      const { first: { namespace, name }, stage, more, severity } = item;
      const isMany = severity === "Note" && more > 0;
      line.show({
        ...item,
        ...(isMany ? { hint: undefined, sentence: WANTED[item.code] ?? item.sentence } : {}),
        href: isMany ? "#/" : stage && !more ? address(namespace, name, stage) : address(namespace, name),
        name: isMany ? plural(more + 1, "pipeline") : name,
        sub: isMany ? "" : stage ? `${namespace} · ${stage}${more ? ` and ${more} more` : ""}` : namespace,
      }, this.#live.at);
      line.onclick = isMany ? (event) => { event.preventDefault(); this.#only = "Note"; this.refresh(); $("pipelines-title").scrollIntoView(); } : null;
    });
    $("attention-more").hidden = all.length <= FEW;
    write($("attention-more"), this.#all ? "fewer" : `all ${all.length.toLocaleString("en")}`);
  }

  #namespaces(rows) {
    const names = [...new Set(rows.map((row) => row.namespace))].sort();
    const select = $("namespace");
    if (select.known === names.join()) return;
    select.known = names.join();
    const chosen = select.value;
    select.replaceChildren(el("option", { value: "" }, "all namespaces"), ...names.map((name) => el("option", { value: name }, name)));
    select.value = names.includes(chosen) ? chosen : "";
  }

  #height() { return parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row")) + (innerWidth > 760 ? 1 : 0); }
  #top() { return $("rows").getBoundingClientRect().top + scrollY; }

  /** Makes the lines in sight. */
  #lines() {
    if ($("fleet").hidden || $("pipelines").hidden) return;
    const height = this.#height(), above = scrollY - this.#top();
    const from = Math.max(0, Math.floor(above / height) - SPARE);
    const to = Math.min(this.#shown.length, Math.ceil((above + innerHeight) / height) + SPARE);
    $("pipelines").setAttribute("aria-rowcount", this.#shown.length + 1);
    const space = (name, lines) => ({ space: name, height: lines * height });
    const items = [space("above", from), ...this.#shown.slice(from, Math.max(from, to)), space("below", Math.max(0, this.#shown.length - Math.max(from, to)))];
    let place = from;
    keep($("rows"), items, (item) => item.space ?? id(item), (item) => item.space ? spacer() : line(item), (tr, item) => {
      if (item.space) { tr.firstChild.style.height = `${item.height}px`; return; }
      tr.show(item);
      tr.setAttribute("aria-rowindex", ++place + 1);
      if (id(item) === this.#selected) tr.setAttribute("aria-selected", "true"); else tr.removeAttribute("aria-selected");
    });
  }
}

const id = (row) => `${row.namespace}/${row.name}`;
const spacer = () => el("tr.space", { "aria-hidden": "true" }, el("td", { colspan: HEADS.length }));

function line(row) {
  const link = el("a.name", { href: address(row.namespace, row.name) }, el("span", {}, `${row.namespace} / `), row.name);
  const [dot, word, delay, lag, rate, ready, of, why] = [el("span"), el("span"), meter(), el("td"), el("td"), el("span"), el("span.of"), el("span.tag")];
  const tr = el("tr", { "data-id": id(row) }, el("td", { title: id(row) }, link), el("td", {}, el("span.mood", {}, dot, word)), el("td", {}, delay), lag, rate, el("td", {}, ready, of), el("td.why", {}, why));
  tr.show = (it) => {
    if (tr.told === it) return;
    tr.told = it;
    dot.className = `dot ${mood(it.state)}`;
    write(word, moodWord(it));
    delay.show(it.delaySeconds, it.objectiveSeconds);
    write(lag, it.lag === undefined ? "–" : number(it.lag));
    write(rate, it.arrivalRate === undefined ? "–" : `${number(it.arrivalRate)}/s`);
    write(ready, String(it.ready));
    write(of, it.ready === it.desired ? "" : ` of ${it.desired}`);
    write(why, it.reason ?? "");
    why.hidden = !it.reason;
    tr.setAttribute("aria-label", `${id(it)}, ${moodWord(it)}, ${plural(it.stages, "stage")}`);
  };
  return tr;
}
