// One stage, in a drawer beside its pipeline: why it has the replicas it has, how it fared, what happened to it, how its work lies, and
// what its sources say.
import { ask } from "./session.js";
import { clock, el, keep, moment, money, number, plural, span, write } from "./words.js";
import { plot } from "./plots.js";

const $ = (id) => document.getElementById(id);
const BAD = new Set(["Partial", "Stale", "Failed"]);

export class Drawer {
  #path = null;
  #parts = null;
  #detail = null;
  #span = null;
  #isAsking = false;
  #wants = false;

  /** Shows a stage, `[namespace, pipeline, stage]`, or nothing. */
  show(path) {
    const key = path?.join("/") ?? null;
    const isOther = key !== this.#path?.join("/");
    this.#path = path;
    $("drawer").hidden = !path;
    if (!path) { this.#parts = null; $("drawer").replaceChildren(); return; }
    if (isOther || !this.#parts) {
      [this.#parts, this.#detail, this.#span] = [null, null, null];
      $("drawer").replaceChildren();
      $("drawer").scrollTop = 0;
      $("drawer").setAttribute("aria-label", `Stage ${path[2]}`);
      this.refresh();
      $("drawer").focus({ preventScroll: true });
    }
  }

  /** Asks anew; when asked meanwhile, once more. */
  async refresh() {
    if (!this.#path) return;
    if (this.#isAsking) { this.#wants = true; return; }
    this.#isAsking = true;
    const path = this.#path;
    try {
      const [namespace, name, stage] = path.map(encodeURIComponent);
      const answer = await ask(`api/v1/pipelines/${namespace}/${name}/stages/${stage}`);
      if (path !== this.#path) this.#wants = true;
      else if (answer.ok) { this.#detail = await answer.json(); this.#render(); }
      else if (answer.status === 404) { this.#parts = null; $("drawer").replaceChildren(this.#head(path), el("p.empty", {}, "There is no such stage.")); }
    } catch {
      // The connection's own word says it.
    } finally {
      this.#isAsking = false;
      if (this.#wants) { this.#wants = false; this.refresh(); }
    }
  }

  #head([namespace, name, stage], sub = "") {
    return el("header", {}, el("div", {}, el("h2", {}, stage), el("small", {}, sub)),
      el("button.quiet", { type: "button", "aria-label": "Close", title: "Close (Esc)", onclick: () => { location.hash = `#/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`; } }, "✕"));
  }

  #make({ stage }) {
    const part = (title, ...children) => el("section", {}, el("h3", {}, title), ...children);
    const parts = { because: el("p.because"), hint: el("span.hint"), chain: el("ol.chain", { "aria-label": "Before that" }), odd: el("ul.sources"), figures: el("dl.figures"), moments: el("ol.moments"), spreads: el("div"), sources: el("ul.sources") };
    parts.plots = {
      delay: plot("Delay against its objective", span),
      arrivals: plot("Arrivals", (value) => `${number(value)}/s`),
      replicas: plot("Replicas", (value) => plural(value, "replica"), { isStepped: true }),
    };
    const tab = (which, word) => el("button", { type: "button", "data-span": which, onclick: () => { this.#span = which; this.#plots(); } }, word);
    parts.tabs = el("div.tabs", { role: "group", "aria-label": "How far back" }, tab("near", "10 min"), tab("far", "24 h"));
    parts.oddSection = part("Unusual", parts.odd);
    parts.lanes = el("ul.sources");
    parts.laneSection = part("Lanes", parts.lanes);
    parts.rooms = el("ul.sources");
    parts.roomSection = part("Room kept on nodes", parts.rooms);
    parts.spreadSection = part("How the work lies", parts.spreads);
    parts.sourceSection = part("Sources", parts.sources);
    parts.trend = el("section", {}, el("div.heading", {}, el("h3", {}, "How it fared"), parts.tabs), ...Object.values(parts.plots));
    parts.quiet = el("p.soft", {}, "Nothing was told of it in the last day.");
    $("drawer").replaceChildren(
      this.#head(this.#path, `${stage.target} · ${stage.mode === "Observe" ? "observed only" : "enforced"}`),
      el("section", {}, parts.because, parts.hint, parts.chain),
      el("section", {}, parts.figures),
      parts.oddSection, parts.laneSection, parts.roomSection, parts.trend, part("What happened", parts.moments, parts.quiet), parts.spreadSection, parts.sourceSection,
    );
    return parts;
  }

  #render() {
    const { stage, timeline, spreads, at } = this.#detail;
    const parts = this.#parts ??= this.#make(this.#detail);
    const reason = stage.reasons.at(-1);
    write(parts.because, reason?.sentence ?? "Nothing has been decided yet.");
    write(parts.hint, reason?.hint ? `To change this: ${reason.hint}.` : "");
    parts.hint.hidden = !reason?.hint;
    parts.hint.title = reason?.code ?? "";
    // Several phases may say the same; once is enough.
    const said = new Set([reason?.sentence]);
    const before = stage.reasons.slice(0, -1).reverse().filter((it) => !said.has(it.sentence) && said.add(it.sentence));
    parts.chain.hidden = !before.length;
    keep(parts.chain, before, (it) => `${it.code} ${it.sentence}`, () => el("li", {}, el("span"), " ", el("span.tag")), (li, it) => { write(li.firstChild, it.sentence); write(li.lastChild, it.code); });
    parts.oddSection.hidden = !stage.anomalies?.length;
    keep(parts.odd, stage.anomalies ?? [], (it) => it.code, () => el("li", {}, el("span.tag.odd"), " ", el("span"), el("span.hint")), (li, it) => {
      write(li.children[0], it.code); write(li.children[1], it.sentence); write(li.children[2], it.hint ?? ""); li.children[2].hidden = !it.hint;
    });
    parts.laneSection.hidden = !stage.lanes?.length;
    keep(parts.lanes, stage.lanes ?? [], (it) => it.pool, laneLine, (li, it) => li.show(it));
    const rooms = (stage.rooms ?? []).filter((it) => it.replicas);
    parts.roomSection.hidden = !rooms.length;
    keep(parts.rooms, rooms, (it) => it.pool ?? "", roomLine, (li, it) => li.show(it));
    this.#figures(stage);
    this.#plots();
    parts.quiet.hidden = timeline.length > 0;
    keep(parts.moments, timeline, (it) => `${it.at}${it.code}${it.sentence}`, moved, () => {});
    parts.spreadSection.hidden = !spreads.length;
    keep(parts.spreads, spreads, (it) => it.source, (it) => spreadOf(it), (box, it) => box.show(it, spreads.length > 1));
    parts.sourceSection.hidden = !stage.sources?.length;
    keep(parts.sources, stage.sources ?? [], (it) => it.name, sourceLine, (li, it) => li.show(it, at));
  }

  #figures(stage) {
    const { replicas, held } = stage;
    const of = (value, say, small) => value === undefined ? null : [say(value), small];
    const per = (value) => `${number(value)}/s`;
    const all = [
      ["Replicas", [String(replicas.ready ?? "–"), replicas.ready === replicas.desired ? "ready" : `of ${replicas.desired ?? "–"}`]],
      ["Bounds", of(replicas.max, (max) => `${replicas.min}–${max}`)],
      ["Waiting", of(stage.lag, number)],
      ["Delay", of(stage.delaySeconds, (value) => `${stage.isDelayAtLeast ? "≥ " : ""}${span(value)}`, stage.objectiveSeconds === undefined ? "" : `of ${span(stage.objectiveSeconds)}`), stage.delaySeconds > stage.objectiveSeconds],
      ["Done by", of(stage.doneBy, clock)],
      ["Arrives", of(stage.arrivalRate, per)],
      ["Expected", of(stage.forecastRate, per)],
      ["One replica does", of(stage.ratePerReplica, per)],
      ["Starts in", of(stage.startupSeconds, span)],
      ["Rebalance", of(stage.rebalanceSeconds, span)],
      ["Partitions", stage.partitions ? [String(stage.partitions)] : null],
      ["Kept by a window", held ? [String(held.replicas), `since ${clock(held.since)}`] : null],
    ].filter(([, value]) => value);
    keep(this.#parts.figures, all, ([word]) => word, ([word]) => el("div", {}, el("dt", {}, word), el("dd")), (div, [, [value, small], isOver]) => {
      const text = `${value}|${small ?? ""}`;
      if (div.told === text) return;
      div.told = text;
      div.lastChild.className = isOver ? "over" : "";
      div.lastChild.replaceChildren(value, ...(small ? [el("small", {}, small)] : []));
    });
  }

  #plots() {
    const { near, far, stage, usual } = this.#detail;
    const isKnown = (trend) => trend.delaySeconds.concat(trend.arrivalRate, trend.replicas).some((value) => value !== null);
    // At first what tells more: a day is flat while it is young.
    const span = this.#span ?? (far.replicas.filter((value) => value !== null).length > 8 ? "far" : "near");
    const trend = span === "far" ? far : near;
    for (const button of this.#parts.tabs.children) button.setAttribute("aria-pressed", String(button.dataset.span === span));
    const end = new Date(new Date(trend.start).getTime() + trend.replicas.length * trend.stepSeconds * 1000).toISOString();
    const base = { step: trend.stepSeconds, end };
    const { delay, arrivals, replicas } = this.#parts.plots;
    delay.show({ ...base, values: trend.delaySeconds, current: stage.delaySeconds, limit: stage.objectiveSeconds });
    const ahead = stage.forecastRate === undefined || span === "far" ? undefined : { value: stage.forecastRate, seconds: stage.startupSeconds ?? 60 };
    arrivals.show({ ...base, values: trend.arrivalRate, current: stage.arrivalRate, ahead, band: span === "far" ? usual : undefined });
    replicas.show({ ...base, values: trend.replicas, current: stage.replicas.current });
    this.#parts.trend.hidden = !isKnown(near) && !isKnown(far);
  }
}

function laneLine({ pool, target }) {
  const [count, text] = [el("span"), el("p.hint")];
  const li = el("li", {}, el("div", {}, el("span", { title: target }, pool), count), text);
  li.show = (it) => {
    write(count, it.ready === it.desired ? plural(it.ready, "replica") : `${it.ready} of ${plural(it.desired, "replica")}`);
    count.className = it.ready < it.desired ? "bad" : "soft";
    const parts = [
      it.desired === it.share ? "" : `its share is ${it.share}`,
      it.going ? `${it.going} on nodes that are about to go` : "",
      it.unplaced ? `${it.unplaced} without a node` : "",
      it.costPerHour === undefined ? "" : `${money(it.costPerHour)} an hour`,
    ];
    write(text, parts.filter(Boolean).join(", "));
    text.hidden = !text.textContent;
  };
  return li;
}

function roomLine({ pool }) {
  const [count, text] = [el("span"), el("p.hint")];
  const li = el("li", {}, el("div", {}, el("span", {}, pool ?? "Any node"), count), text);
  li.show = (it) => {
    // Who makes nodes for a buffer may not tell whether they are there.
    const isThere = it.placed === undefined || it.placed === it.replicas;
    write(count, isThere ? plural(it.replicas, "replica") : `${it.placed} of ${plural(it.replicas, "replica")} there`);
    count.className = isThere ? "soft" : "bad";
    write(text, it.sentence);
  };
  return li;
}

function moved(it) {
  const head = it.to === undefined ? null : el("span.move", {}, `${it.from} → ${it.to}`);
  return el("li", {}, el("time", { datetime: it.at, title: `${new Date(it.at).toLocaleString()}` }, moment(it.at).slice(0, 5)),
    el("div", {}, head, el(`span.tag${it.isWarning ? ".held" : ""}`, {}, it.code), el("p", {}, it.sentence)));
}

function spreadOf() {
  const [bars, words] = [el("div.spread", { role: "img" }), el("small")];
  const box = el("div", {}, words, bars);
  box.show = ({ source, lag, partitions }, isOneOfMany) => {
    const most = Math.max(1, ...partitions.map((it) => it.lag));
    const hot = partitions.find((it) => it.lag === most);
    const even = lag / partitions.length;
    const isUneven = hot && lag > 0 && most > 2 * even && partitions.length > 1;
    const name = hot && `${hot.topic ? `${hot.topic}/` : ""}${hot.id}`;
    const owners = new Set(partitions.map((it) => it.owner).filter((it) => it !== undefined)).size;
    write(words, `${isOneOfMany ? `${source}: ` : ""}${number(lag)} wait on ${plural(partitions.length, "partition")}${owners ? ` of ${plural(owners, "consumer")}` : ""}${lag > 0 && hot ? `; ${name} has ${(100 * most / lag).toFixed(0)} %, an even share is ${(100 / partitions.length).toFixed(0)} %` : ""}`);
    bars.setAttribute("aria-label", words.textContent);
    keep(bars, partitions, (it) => `${it.topic ?? ""}/${it.id}`, () => el("i"), (bar, it) => {
      bar.style.height = `${it.lag ? Math.max(3, 100 * it.lag / most) : 1}%`;
      bar.className = isUneven && it.lag > 2 * even ? "hot" : "";
      bar.title = `${it.topic ? `${it.topic}/` : ""}${it.id}: ${number(it.lag)} waiting${it.owner === undefined ? "" : `, consumer ${it.owner}`}`;
    });
  };
  return box;
}

function sourceLine() {
  const [name, state, text] = [el("span"), el("span"), el("p.hint")];
  const li = el("li", {}, el("div", {}, name, state), text);
  li.show = (it) => {
    write(name, it.name);
    write(state, `${it.state.toLowerCase()}${it.ageSeconds === undefined ? "" : `, ${span(it.ageSeconds)} old`}`);
    state.className = BAD.has(it.state) ? "bad" : "soft";
    const refusal = it.refusal ? `Its newest credentials are not in use since ${clock(it.refusal.since)}: ${it.refusal.message} [${it.refusal.code}]` : "";
    write(text, [it.message, refusal].filter(Boolean).join(" "));
    text.hidden = !text.textContent;
  };
  return li;
}
