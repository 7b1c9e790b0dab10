// One pipeline: what needs a look about it, the picture of its stages as the daemon draws it, and its stages in a table.
import { ask } from "./session.js";
import { MOODS, address, concern, el, keep, meter, mood, moodWord, number, plural, span, write } from "./words.js";

const $ = (id) => document.getElementById(id);
// The picture comes from this daemon, which escapes every name in it: the only text that becomes markup.
const policy = globalThis.trustedTypes?.createPolicy("picture", { createHTML: (text) => text }) ?? { createHTML: (text) => text };

export class Pipeline {
  #live;
  #parts = null;
  #id = null;
  #stage = null;
  #drawn = "";
  #selected = 0;

  constructor(live) {
    this.#live = live;
    addEventListener("resize", () => { this.#fit(); this.#draw(); });
  }

  /** Shows `NAMESPACE/NAME`, with this stage chosen. */
  show(id, stage) {
    const isNew = id !== this.#id;
    [this.#id, this.#stage] = [id, stage];
    document.body.classList.toggle("beside", !!stage);
    if (isNew) { this.#parts = null; this.#drawn = ""; this.#selected = 0; $("one").replaceChildren(); }
    this.refresh();
    if (isNew) this.#draw(); else { this.#choose(); this.#fit(); }
  }

  /** From what is known now; `isNewTurn` when the whole of it came anew. */
  refresh(isNewTurn = false) {
    if ($("one").hidden || !this.#id) return;
    const [namespace, name] = this.#id.split("/");
    const row = this.#live.rows.get(this.#id);
    const whole = this.#live.whole;
    if (whole?.isGone || (!row && !whole && this.#live.rows.size)) {
      this.#parts = null;
      $("one").replaceChildren(el("p.empty", {}, `There is no pipeline ${this.#id}. `, el("a", { href: "#/" }, "Show all")));
      return;
    }
    const parts = this.#parts ??= this.#make(namespace, name);
    if (row) {
      parts.dot.className = `dot ${mood(row.state)}`;
      write(parts.mood, moodWord(row));
      keep(parts.concerns, row.concerns ?? [], (item) => `${item.stage ?? ""}/${item.code}`, concern, (line, item) => {
        line.show({ ...item, href: item.stage ? address(namespace, name, item.stage) : address(namespace, name), name: item.stage ?? "all stages", sub: "" }, this.#live.at);
      });
      parts.attention.hidden = !row.concerns?.length;
      const facts = [
        ["Delay", row.delaySeconds === undefined ? "–" : span(row.delaySeconds), row.objectiveSeconds === undefined ? "" : `of ${span(row.objectiveSeconds)}`, row.delaySeconds > row.objectiveSeconds],
        ["Waiting", row.lag === undefined ? "–" : number(row.lag)],
        ["In", row.arrivalRate === undefined ? "–" : `${number(row.arrivalRate)}/s`],
        ["Replicas", String(row.ready), row.ready === row.desired ? "ready" : `of ${row.desired}`],
      ];
      keep(parts.facts, facts, ([word]) => word, ([word]) => { const dd = el("dd"); const div = el("div", {}, el("dt", {}, word), dd); div.dd = dd; return div; }, (div, [, value, small, isOver]) => {
        if (div.told === value + small) return;
        div.told = value + small;
        div.dd.replaceChildren(value, ...(small ? [el("small", {}, small)] : []));
        div.dd.className = isOver ? "over" : "";
      });
    }
    if (whole) {
      write(parts.terms, `${plural(whole.stages.length, "stage")} · generation ${whole.generation}${whole.leads ? "" : " · told by a standby"}`);
      keep(parts.rows, whole.stages, (stage) => stage.name, (stage) => this.#line(namespace, name, stage), (tr, stage) => tr.show(stage, whole));
      [...parts.rows.children].forEach((tr, at) => at === this.#selected && this.#stepped ? tr.setAttribute("aria-selected", "true") : tr.removeAttribute("aria-selected"));
      parts.table.hidden = parts.section.hidden = !whole.stages.length;
    }
    if (isNewTurn) this.#draw();
  }

  #stepped = false;

  /** Selects the stage that is so many after the selected one. */
  step(by) {
    const lines = [...(this.#parts?.rows.children ?? [])];
    if (!lines.length) return;
    this.#selected = this.#stepped ? Math.max(0, Math.min(lines.length - 1, this.#selected + by)) : 0;
    this.#stepped = true;
    lines.forEach((tr, at) => at === this.#selected ? tr.setAttribute("aria-selected", "true") : tr.removeAttribute("aria-selected"));
    lines[this.#selected].scrollIntoView({ block: "nearest" });
    lines[this.#selected].querySelector("a").focus({ preventScroll: true });
  }

  /** Opens the selected stage, if there is one. */
  enter() {
    const link = this.#stepped && this.#parts?.rows.children[this.#selected]?.querySelector("a");
    if (link) location.hash = link.getAttribute("href");
  }

  #make(namespace, name) {
    const parts = { dot: el("span.dot"), mood: el("span"), terms: el("span.soft"), concerns: el("ul.concerns"), facts: el("dl.facts"), picture: el("div.picture", { tabindex: "-1" }), rows: el("tbody") };
    parts.attention = el("section", { "aria-label": "Needs a look" }, parts.concerns);
    parts.section = el("section", { "aria-label": "Flow" }, parts.picture);
    const heads = ["Stage", "Delay", "Waiting", "In", "Each", "Replicas", "Why"];
    parts.table = el("table", { id: "stages", "aria-label": "Stages" }, el("thead", {}, el("tr", {}, ...heads.map((head) => el(["Waiting", "In", "Each"].includes(head) ? "th.thin" : "th", { scope: "col" }, head)))), parts.rows);
    $("one").replaceChildren(
      el("div.head", {}, el("div", {}, el("h1", {}, name), el("p.soft", {}, el("span.mood", {}, parts.dot, parts.mood), " · ", namespace, " · ", parts.terms)), parts.facts),
      parts.section, parts.attention, el("section", {}, parts.table),
    );
    return parts;
  }

  #line(namespace, name, { name: stage }) {
    const link = el("a.name", { href: address(namespace, name, stage) }, stage);
    const [delay, lag, rate, each, ready, of, why] = [meter(), el("td.thin"), el("td.thin"), el("td.thin"), el("span"), el("span.of"), el("td.why")];
    const tr = el("tr", { onclick: (event) => { if (!event.target.closest("a")) location.hash = address(namespace, name, stage); } },
      el("td", {}, link), el("td", {}, delay), lag, rate, each, el("td", {}, ready, of), why);
    tr.show = (it) => {
      delay.show(it.delaySeconds, it.objectiveSeconds, it.isDelayAtLeast);
      write(lag, it.lag === undefined ? "–" : number(it.lag));
      write(rate, it.arrivalRate === undefined ? "–" : `${number(it.arrivalRate)}/s`);
      write(each, it.ratePerReplica === undefined ? "learning" : `${number(it.ratePerReplica)}/s`);
      const { ready: are, desired } = it.replicas;
      write(ready, are === undefined ? "–" : String(are));
      write(of, are === desired || desired === undefined ? "" : ` of ${desired}`);
      write(why, it.reasons.at(-1)?.sentence ?? "");
    };
    return tr;
  }

  /** Fetches the picture; what is chosen and what has the focus stay so. */
  async #draw() {
    const id = this.#id;
    if (!id || $("one").hidden) return;
    const flow = innerWidth < 760 ? "down" : "right";
    const answer = await ask(`api/v1/pipelines/${id}/graph.svg?flow=${flow}`).catch(() => null);
    if (!answer?.ok || id !== this.#id || !this.#parts) return;
    const text = await answer.text();
    if (text === this.#drawn || id !== this.#id || !this.#parts) return;
    this.#drawn = text;
    const holder = this.#parts.picture;
    const focused = holder.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const svg = new DOMParser().parseFromString(policy.createHTML(text), "image/svg+xml").documentElement;
    const began = holder.dataset.began ??= String(performance.now());
    // The flow in the lines goes on where it was.
    const isFirst = !holder.firstChild;
    holder.replaceChildren(document.importNode(svg, true));
    this.#fit();
    if (isFirst) holder.scrollLeft = flow === "down" ? (holder.scrollWidth - holder.clientWidth) / 2 : 0;
    for (const motion of holder.getAnimations({ subtree: true })) motion.currentTime = performance.now() - Number(began);
    this.#choose();
    if (focused) holder.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  /** A wide picture shrinks to the room there is, but never so far that it cannot be read. */
  #fit() {
    const holder = this.#parts?.picture, svg = holder?.firstElementChild;
    if (!svg) return;
    const [wide, high] = ["width", "height"].map((side) => svg.viewBox.baseVal[side]);
    const scale = Math.min(1, Math.max(0.68, (holder.clientWidth - 14) / wide));
    svg.setAttribute("width", (wide * scale).toFixed(0));
    svg.setAttribute("height", (high * scale).toFixed(0));
  }

  #choose() {
    const [namespace, name] = this.#id.split("/");
    for (const node of this.#parts?.picture.querySelectorAll(".node") ?? []) {
      node.classList.toggle("chosen", !!this.#stage && node.getAttribute("href") === address(namespace, name, this.#stage));
    }
  }
}
