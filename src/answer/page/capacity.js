// Pools of nodes and budgets: whether nodes can be had, on what evidence, and who gives way to whom. Asked for while it is looked at.
import { ask } from "./session.js";
import { address, ago, el, keep, money, number, plural, priceIn, span, write } from "./words.js";

const $ = (id) => document.getElementById(id);
const EVERY = 5_000;
/** How often it is looked whether there is anything to see. */
const SELDOM = 60_000;
/** How a pool is: the class of its dot, and what people read. */
const STATES = {
  Available: ["working", "gives nodes"],
  Constrained: ["held", "gives few"],
  Exhausted: ["late", "gives none"],
  Unknown: ["unknown", "not seen yet"],
};
const CLASSES = { OnDemand: "on demand", Spot: "spot", Reserved: "reserved" };
const of = (value, limit, say) => limit === undefined ? say(value) : `${say(value)} of ${say(limit)}`;

export class Capacity {
  #isShown = false;
  #isAsking = false;
  #timer = null;

  /** Shows it, or ceases to. */
  show(isShown) {
    this.#isShown = isShown;
    $("capacity").hidden = !isShown;
    clearTimeout(this.#timer);
    if (isShown) this.refresh();
    else this.#timer = setTimeout(() => this.refresh(), SELDOM);
  }

  /** Asks anew; the link to this view is there once there is something to see. */
  async refresh() {
    if (this.#isAsking) return;
    this.#isAsking = true;
    clearTimeout(this.#timer);
    try {
      // A page that nobody looks at asks nothing.
      const answer = document.hidden ? {} : await ask("api/v1/capacity");
      if (answer.ok) this.#render(await answer.json());
    } catch {
      // The connection's own word says it.
    } finally {
      this.#isAsking = false;
      this.#timer = setTimeout(() => this.refresh(), this.#isShown ? EVERY : SELDOM);
    }
  }

  #render({ at, currency, pools, budgets }) {
    priceIn(currency);
    $("to-capacity").hidden = !pools.length && !budgets.length;
    $("no-capacity").hidden = pools.length + budgets.length > 0;
    $("pool-section").hidden = !pools.length;
    keep($("pools"), pools, (pool) => pool.name, poolLine, (tr, pool) => tr.show(pool, at));
    $("budget-section").hidden = !budgets.length;
    keep($("budgets"), budgets, (budget) => budget.name, budgetLine, (tr, budget) => tr.show(budget));
  }
}

function poolLine({ name }) {
  const [kind, dot, word, nodes, startup, cost, why, sign] = [el("small"), el("span"), el("span"), el("td"), el("td"), el("td"), el("span"), el("small")];
  const tr = el("tr", {}, el("td", {}, el("b", {}, name), " ", kind), el("td", {}, el("span.mood", {}, dot, word)), nodes, startup, cost, el("td.says", {}, why, " ", sign));
  tr.show = (pool, at) => {
    const [mood, says] = STATES[pool.state] ?? ["unknown", pool.state];
    write(kind, CLASSES[pool.class] ?? pool.class);
    dot.className = `dot ${mood}`;
    write(word, says);
    write(nodes, String(pool.nodes));
    write(startup, pool.startupSeconds === undefined ? "–" : span(pool.startupSeconds));
    startup.title = pool.longestStartupSeconds === undefined ? "" : `95 of 100 within ${span(pool.longestStartupSeconds)}`;
    write(cost, money(pool.costPerHour));
    const [last] = pool.evidence;
    write(why, last?.what ?? "");
    const probe = pool.nextProbe && new Date(pool.nextProbe) > new Date(at) ? `tried again in ${span((new Date(pool.nextProbe) - new Date(at)) / 1000)}` : "";
    write(sign, [last ? ago(last.at, at) : "", probe].filter(Boolean).join(", "));
  };
  return tr;
}

function budgetLine({ name }) {
  const [kind, dot, word, cost, cpu, says] = [el("small"), el("span"), el("span"), el("td"), el("td"), el("td.says")];
  const tr = el("tr", {}, el("td", {}, el("b", {}, name), " ", kind), el("td", {}, el("span.mood", {}, dot, word)), cost, cpu, says);
  tr.show = (budget) => {
    const { gaveWay, unpriced, isExceeded } = budget;
    write(kind, budget.isEnforced ? "" : "warns only");
    dot.className = `dot ${unpriced.length || gaveWay.length || isExceeded ? "held" : "working"}`;
    write(word, gaveWay.length ? "is short" : isExceeded ? "exceeded" : unpriced.length ? "price unknown" : "suffices");
    write(cost, of(budget.costPerHour, budget.costLimit, money));
    write(cpu, of(budget.cpu, budget.cpuLimit, number));
    const who = [...gaveWay.map((it) => [it.pipeline, `${plural(it.replicas, "replica")} fewer`]), ...unpriced.map((it) => [it, "price unknown"])];
    const told = JSON.stringify(who);
    if (says.told === told) return;
    says.told = told;
    says.replaceChildren(...who.flatMap(([pipeline, what], at) => [at ? ", " : "", el("a", { href: address(...pipeline.split("/")) }, pipeline), ` ${what}`]));
  };
  return tr;
}
