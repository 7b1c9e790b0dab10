"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const NS = "http://www.w3.org/2000/svg";
const colour = (at) => `var(--c${at % 10})`;
const own = Math.max(0, data.policies.findIndex((it) => it.name.startsWith("penstock")));
const hidden = new Set();
// What a policy pays: money where stages have lanes, the time of its pods elsewhere.
const paid = (it) => data.isPriced ? it.nodes.cost : it.summary.replicaHours;
const unit = data.isPriced ? "cost" : "replica-hours";
// Only what was promised can be late.
const isScored = data.policies.some((it) => it.summary.lateShare);
const late = (it) => it.summary.lateShare || { mean: 0, half: 0 };
// Too many lines hide each other: at first the two strongest rivals are shown, punctual before cheap.
if (!data.about) data.policies.map((it, at) => ({ at, late: Math.max(0.001, late(it).mean), cost: paid(it).mean }))
  .filter((it) => it.at !== own).sort((a, b) => Math.round(Math.log10(a.late)) - Math.round(Math.log10(b.late)) || a.cost - b.cost)
  .slice(2).forEach((it) => hidden.add(it.at));
let stage = 0;
let view = null;

// ---- words -------------------------------------------------------------------------------------------------------------
const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const number = (x) => x >= 1e6 ? `${(x / 1e6).toFixed(1)}M` : x >= 1e4 ? `${(x / 1e3).toFixed(0)}k` : x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1).replace(/\.0$/, "") : x.toFixed(2).replace(/\.?0+$/, "");
const span = (s) => s < 10 ? `${s.toFixed(1).replace(/\.0$/, "")} s` : s < 120 ? `${s.toFixed(0)} s` : s < 7200 ? `${(s / 60).toFixed(s < 600 ? 1 : 0).replace(/\.0$/, "")} min` : s < 172800 && s % 86400 ? `${(s / 3600).toFixed(1).replace(/\.0$/, "")} h` : `${(s / 86400).toFixed(1).replace(/\.0$/, "")} d`;
const share = (x) => { const p = 100 * x; return p === 0 ? "0 %" : p < 0.001 ? "< 0.001 %" : p < 0.1 ? `${p.toFixed(3)} %` : p < 10 ? `${p.toFixed(2)} %` : `${p.toFixed(1)} %`; };
const two = (x) => String(x).padStart(2, "0");
const clock = (s) => { s = Math.round(s); const time = `${two(Math.floor(s / 3600) % 24)}:${two(Math.floor(s / 60) % 60)}`; return data.duration > 86400 ? `day ${1 + Math.floor(s / 86400)} ${time}` : time; };
const moment = (s) => `${clock(s)}:${two(Math.round(s) % 60)}`;
const plural = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;

function node(name, attributes, parent, text) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.appendChild(made);
  return made;
}

// ---- the tip -----------------------------------------------------------------------------------------------------------
function tip(event, html) {
  const box = $("tip");
  if (!html) { box.classList.remove("on"); return; }
  box.innerHTML = html;
  box.classList.add("on");
  const { width, height } = box.getBoundingClientRect();
  const x = event.clientX + 16 + width > innerWidth ? event.clientX - width - 16 : event.clientX + 16;
  const y = Math.min(event.clientY + 14, innerHeight - height - 8);
  box.style.left = `${Math.max(8, x)}px`;
  box.style.top = `${Math.max(8, y)}px`;
}

// ---- head and table ----------------------------------------------------------------------------------------------------
function head() {
  $("name").textContent = data.scenario;
  $("terms").textContent = `${span(data.scored)} scored after ${data.warmup ? span(data.warmup) + " to warm up" : "no warm-up"} · ${plural(data.seeds, "seed")} · ${plural(data.stages.length, "stage")} · ${promise}`;
  const facts = [...(data.stages.length === 1 ? [data.stages[0].facts] : []), ...(data.pools || [])];
  $("facts").innerHTML = facts.map(escape).join("<br>");
  const it = data.policies[own].summary, name = data.policies[own].name, mine = paid(data.policies[own]).mean;
  const kept = share(1 - late(data.policies[own]).mean).replace("100.0 %", "100 %");
  const did = data.objective !== null ? `kept <b>${kept}</b> of the items within ${span(data.objective)}` : isScored ? `had <b>${kept}</b> of the items done in time` : "had nothing to keep";
  let text = `<b>${escape(name)}</b> ${did}, ${data.isPriced ? `for ${number(mine)}, with ${(100 * data.policies[own].nodes.spotShare.mean).toFixed(0)} % of its pods on spot.` : `with ${number(it.replicaHours.mean)} replica-hours, ${(100 * it.workHours.mean / it.replicaHours.mean).toFixed(0)} % of them at work.`}`;
  const rivals = data.policies.filter((other, at) => isScored && at !== own && late(other).mean <= Math.max(0.001, late(data.policies[own]).mean * 1.5));
  const best = rivals.sort((a, b) => paid(a).mean - paid(b).mean)[0];
  if (best) {
    const saved = 1 - mine / paid(best).mean;
    text += saved >= 0 ? ` That is <b>${(100 * saved).toFixed(0)} % less</b> than ${escape(best.name)}, the cheapest of the others that is as punctual.` : ` ${escape(best.name)} is as punctual for ${(100 * (1 - paid(best).mean / mine)).toFixed(0)} % less.`;
  } else if (isScored && data.policies.length > 1) text += " None of the others is as punctual.";
  $("verdict").innerHTML = text;
  if (data.about) { $("brand").textContent = data.about.brand; $("verdict").textContent = data.about.verdict; }
}

function scores() {
  const half = (interval, say) => interval.half > 0 ? `${say(interval.mean)}<small>±${say(interval.half)}</small>` : say(interval.mean);
  const most = Math.max(...data.policies.map((it) => paid(it).mean));
  const rows = data.policies.map((policy, at) => {
    const it = policy.summary;
    const isLate = late(policy).mean > 0.001 ? "late" : "";
    return `<tr class="${at === own ? "own" : ""}"><td><span class="swatch" style="background:${colour(at)}"></span>${escape(policy.name)}</td>
      <td>${half(paid(policy), number)}<span class="bar"${data.isPriced ? ' style="width:44px"' : ""}><i style="width:${100 * paid(policy).mean / most}%;background:${colour(at)}"></i></span></td>
      <td>${data.clairvoyant ? `${policy.over.toFixed(2)} ×` : `${(100 * it.workHours.mean / Math.max(1e-9, it.replicaHours.mean)).toFixed(0)} %`}</td>
      <td class="${isLate}">${it.lateShare ? half(it.lateShare, share) : "-"}</td>${isDue ? due(it.due) : ""}<td>${half(it.delayP99, span)}</td><td>${span(it.delayMax.mean)}</td>
      ${data.isPriced ? ends(policy.nodes) : ""}<td>${half(it.actionsPerDay, number)}</td>${data.isPriced ? "" : `<td>${number(it.undonePerDay.mean)}</td><td>${number(it.rebalancesPerDay.mean)}</td>`}</tr>`;
  });
  $("scores").innerHTML = `<tr><th>policy</th><th>${unit}</th><th>${data.clairvoyant ? "× bound" : "at work"}</th><th>items late</th>${isDue ? "<th>due met</th><th>overdue</th>" : ""}<th>delay, p99</th><th>longest</th>${data.isPriced ? "<th>on spot</th><th>told</th><th>lost</th><th>missed</th>" : ""}<th>moves a day</th>${data.isPriced ? "" : "<th>undone</th><th>rebalances</th>"}</tr>${rows.join("")}`;
  $("scores-note").textContent = `${lateness} ${data.isPriced ? "Nodes are paid for from the second they are asked for to the second they are gone. Told: nodes a day that heard that they will go; lost: pods that went with them; missed: of these, those whose replacements were not Ready yet." : "Pods that are starting are paid for. Undone are moves that one the other way followed within ten minutes."}${data.seeds > 1 ? ` ± is half the 95 % interval over ${data.seeds} seeds.` : ""}`;
  if (data.clairvoyant) $("scores-note").textContent += ` The bound is what the cheapest plan would pay that knows all of this beforehand and is never late: ${number(data.clairvoyant)}${data.isPriced ? "" : " replica-hours"}.`;
  const set = data.policies.filter((it) => it.settings !== it.name).map((it) => it.settings);
  if (set.length) $("settings").textContent = `As set here: ${set.join(" · ")}.`;
}

// How due times were kept, all seeds together.
const isDue = data.policies.some((it) => it.summary.due);
const due = (it) => it ? `<td>${it.met} of ${it.times}</td><td class="${it.overdue > 0 ? "late" : ""}">${it.overdue > 0 ? span(it.overdue) : "-"}</td>` : "<td>-</td><td>-</td>";
const promised = (it) => it.objective !== null ? `no item later than ${span(it.objective)}` : it.doneBy ? `done by ${it.doneBy}` : "nothing promised";
const promise = data.objective !== null ? `no item later than ${span(data.objective)}` : data.stages.length === 1 ? promised(data.stages[0]) : data.stages.map((it) => `${it.name}: ${promised(it)}`).join("; ");
const lateness = data.objective !== null ? `Late is what was read, or never read, more than ${span(data.objective)} after it arrived, by volume; above 0.1 % it is red.`
  : isScored ? `Late is what was not read in time, by volume, of the stages that promise something, each by its own promise${isDue ? "; where that is a time of day, by the first one after an item arrived. Due times are those of all seeds, overdue is how long after its due time the last item was read, at worst" : ""}.`
  : "Nothing is promised of these items, neither maxDelay nor doneBy, so that nothing is late.";

const ends = (it) => `<td>${(100 * it.spotShare.mean).toFixed(0)} %</td>` + [it.interruptedPerDay, it.lostPerDay, it.missedPerDay].map((a_day) => `<td>${number(a_day.mean)}</td>`).join("");

// ---- cost against lateness ---------------------------------------------------------------------------------------------
function frontier() {
  const holder = $("frontier");
  holder.textContent = "";
  $("unplotted").textContent = data.unplotted || "";
  $("frontier-note").hidden = data.unplotted !== null;
  if (data.unplotted !== null) return;
  const width = holder.clientWidth, height = 300, left = 64, right = 90, top = 24, bottom = 40;
  const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": "cost against lateness" }, holder);
  const points = data.policies.map((it, at) => ({ at, name: it.name, cost: paid(it), late: late(it) }));
  const work = data.isPriced ? 0 : data.policies[own].summary.workHours.mean;
  const most = 1.08 * Math.max(...points.map((it) => it.cost.mean + it.cost.half), work);
  const worst = Math.min(1, 2.5 * Math.max(0.004, ...points.map((it) => it.late.mean)));
  const floor = 1e-5;
  const x = (cost) => left + (width - left - right) * cost / most;
  const y = (late) => { const up = late < floor ? 0 : 0.12 + 0.88 * Math.log10(late / floor) / Math.log10(worst / floor); return height - bottom - (height - top - bottom) * Math.min(1, up); };
  for (const late of [0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1].filter((it) => it <= worst)) {
    node("line", { x1: left, x2: width - right, y1: y(late), y2: y(late), stroke: "var(--grid)" }, svg);
    node("text", { x: left - 10, y: y(late) + 4, "text-anchor": "end" }, svg, late === 0 ? "0" : `${+(100 * late).toPrecision(2)} %`);
  }
  const step = nice(most / 6);
  for (let cost = 0; cost <= most; cost += step) {
    node("line", { x1: x(cost), x2: x(cost), y1: top, y2: height - bottom, stroke: "var(--grid)" }, svg);
    node("text", { x: x(cost), y: height - bottom + 18, "text-anchor": "middle" }, svg, number(cost));
  }
  node("text", { x: width - right, y: height - 4, "text-anchor": "end" }, svg, unit);
  node("text", { x: left - 10, y: top - 10, "text-anchor": "end" }, svg, "late");
  const least = data.clairvoyant || work;
  node("rect", { x: left, y: top, width: x(least) - left, height: height - bottom - top, fill: "var(--load-fill)" }, svg);
  node("line", { x1: x(least), x2: x(least), y1: top, y2: height - bottom, stroke: "var(--soft)", "stroke-dasharray": "4 4" }, svg);
  if (least) node("text", { x: x(least) - 8, y: height - bottom - 10, "text-anchor": "end" }, svg, data.clairvoyant ? "the clairvoyant" : "the work itself");
  const unbeaten = points.filter((it) => !points.some((other) => other !== it && other.cost.mean <= it.cost.mean && other.late.mean <= it.late.mean));
  unbeaten.sort((a, b) => a.cost.mean - b.cost.mean);
  node("path", { d: unbeaten.map((it, i) => `${i ? "L" : "M"}${x(it.cost.mean)},${y(it.late.mean)}`).join(""), fill: "none", stroke: "var(--soft)", "stroke-opacity": .5 }, svg);
  const taken = [];
  for (const it of points.sort((a, b) => y(a.late.mean) - y(b.late.mean))) {
    const px = x(it.cost.mean), py = y(it.late.mean), fill = colour(it.at);
    if (it.cost.half > 0) node("line", { x1: x(it.cost.mean - it.cost.half), x2: x(it.cost.mean + it.cost.half), y1: py, y2: py, stroke: fill, "stroke-width": 1.5 }, svg);
    if (it.late.half > 0) node("line", { x1: px, x2: px, y1: y(Math.max(0, it.late.mean - it.late.half)), y2: y(it.late.mean + it.late.half), stroke: fill, "stroke-width": 1.5 }, svg);
    const dot = node("circle", { cx: px, cy: py, r: it.at === own ? 7 : 5, fill, stroke: "var(--card)", "stroke-width": 1.5 }, svg);
    const label = node("text", { class: it.at === own ? "strong" : "" }, svg, it.name);
    const wide = label.getComputedTextLength() + 4;
    const places = [[px + 11, py - 8], [px - 11 - wide, py - 8], [px + 11, py + 16], [px - 11 - wide, py + 16], [px - wide / 2, py - 16], [px - wide / 2, py + 24]];
    const overlap = ([lx, ly]) => [...taken, ...points.map((p) => [x(p.cost.mean) - 7, y(p.late.mean) + 5, 14])].filter(([ox, oy, ow]) => lx < ox + ow && ox < lx + wide && Math.abs(ly - oy) < 14).length + (ly < top ? 1 : 0);
    const best = places.reduce((a, b) => overlap(b) < overlap(a) ? b : a);
    taken.push([...best, wide]);
    label.setAttribute("x", best[0]);
    label.setAttribute("y", best[1]);
    dot.addEventListener("pointermove", (event) => tip(event, `<b>${escape(it.name)}</b><div class="row"><span class="soft">${unit}</span><span>${number(it.cost.mean)}</span></div><div class="row"><span class="soft">late</span><span>${share(it.late.mean)}</span></div>`));
    dot.addEventListener("pointerleave", () => tip());
  }
}

function nice(rough) {
  const size = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((it) => it * size).find((it) => it >= rough);
}

// ---- hour by hour ------------------------------------------------------------------------------------------------------
const shown = () => data.policies.map((it, at) => ({ at, name: it.name, series: it.series[stage], moves: it.moves[stage] })).filter((it) => !hidden.has(it.at));

function buttons() {
  $("legend").textContent = "";
  data.policies.forEach((policy, at) => {
    const button = document.createElement("button");
    button.innerHTML = `<span class="swatch" style="background:${colour(at)}"></span>${escape(policy.name)}`;
    button.setAttribute("aria-pressed", String(!hidden.has(at)));
    button.onclick = () => { hidden.has(at) ? hidden.delete(at) : hidden.add(at); buttons(); timeline(); };
    $("legend").appendChild(button);
  });
  $("stages").textContent = "";
  if (data.stages.length > 1) data.stages.forEach((it, at) => {
    const button = document.createElement("button");
    button.textContent = it.name;
    button.setAttribute("aria-pressed", String(at === stage));
    button.onclick = () => { stage = at; buttons(); timeline(); decisions(); };
    $("stages").appendChild(button);
  });
}

function timeline() {
  const holder = $("timeline");
  holder.textContent = "";
  // Where stages have lanes, whose pods stand where is drawn of one policy: Penstock, or the first that is shown.
  const placed = (shown().find((it) => it.at === own) || shown()[0] || {}).at;
  const lanes = placed === undefined ? [] : data.policies[placed].series[stage].lanes || [];
  const width = holder.clientWidth, left = 56, right = 14, height = lanes.length ? 730 : 560;
  const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, height }, holder);
  const first = data.policies[0].series[stage];
  const whole = [first.start, first.start + first.step * first.load.length];
  const [from, to] = view || whole;
  const x = (s) => left + (width - left - right) * (s - from) / (to - from);
  const at = (px) => from + (to - from) * (px - left) / (width - left - right);
  const clip = node("clipPath", { id: "inside" }, svg);
  node("rect", { x: left, y: 0, width: width - left - right, height }, clip);
  const range = (series) => [Math.max(0, Math.floor((from - series.start) / series.step)), Math.min(series.load.length, Math.ceil((to - series.start) / series.step) + 1)];
  const cut = (series, key) => { const [a, b] = range(series); return series[key].slice(a, b); };
  const lines = shown();
  const own_last = [...lines].sort((a, b) => (a.at === own) - (b.at === own));

  // Time.
  const steps = [60, 300, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
  const tick = steps.find((it) => (to - from) / it <= Math.max(4, width / 110)) || 604800;
  const ticks = [];
  for (let s = Math.ceil(from / tick) * tick; s <= to; s += tick) ticks.push(s);
  const panel = (top, bottom, title) => {
    for (const s of ticks) node("line", { x1: x(s), x2: x(s), y1: top, y2: bottom, stroke: "var(--grid)" }, svg);
    node("text", { x: left, y: top - 8, class: "title" }, svg, title);
    return node("g", { "clip-path": "url(#inside)" }, svg);
  };
  const grid = (top, bottom, most, y) => {
    const step = nice(Math.max(most, 1e-9) / 3);
    for (let value = 0; value <= most * 1.001; value += step) {
      node("line", { x1: left, x2: width - right, y1: y(value), y2: y(value), stroke: "var(--grid)" }, svg);
      node("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, svg, number(value));
    }
  };
  const path = (series, key, y, isStepped) => {
    const [a, b] = range(series);
    let d = "";
    for (let i = a; i < b; i++) {
      const px = x(series.start + i * series.step), py = y(series[key][i]);
      d += i === a ? `M${px.toFixed(1)},${py.toFixed(1)}` : isStepped ? `H${px.toFixed(1)}V${py.toFixed(1)}` : `L${px.toFixed(1)},${py.toFixed(1)}`;
    }
    return d;
  };

  // Ready pods by lane, on demand below and spot above; where a lane gives no nodes, a stroke says so.
  const placing = (at) => {
    const series = data.policies[placed].series[stage], [a, b] = range(series);
    const stack = [...lanes].sort((one, other) => one.isSpot - other.isSpot);
    const sum = series.load.map((_, i) => stack.reduce((all, it) => all + it.ready[i], 0));
    const most = 1.05 * Math.max(1, ...sum.slice(a, b)), y = (v) => at[1] - (at[1] - at[0]) * v / most;
    grid(...at, most, y);
    const group = panel(...at, `Ready by lane, ${data.policies[placed].name}`);
    let below = series.load.map(() => 0);
    stack.forEach((lane, number) => {
      const above = below.map((v, i) => v + lane.ready[i]);
      const edge = (values, way) => { let d = ""; for (let k = 0; k < b - a; k++) { const i = way > 0 ? a + k : b - 1 - k; d += `${way > 0 && k === 0 ? "M" : "L"}${x(series.start + i * series.step).toFixed(1)},${y(values[i]).toFixed(1)}`; } return d; };
      node("path", { d: `${edge(above, 1)}${edge(below, -1)}Z`, fill: `var(--c${lane.isSpot ? 1 + number : number})`, "fill-opacity": lane.isSpot ? .45 : .7 }, group);
      below = above;
    });
    const shut = stack.filter((lane) => lane.isSpot);
    shut.forEach((lane, number) => {
      for (let i = a; i < b; i++) if (lane.open[i] < 0.5) node("rect", { x: x(series.start + i * series.step), width: Math.max(0.5, x(series.start + (i + 1) * series.step) - x(series.start + i * series.step)), y: at[0] + 4 * number, height: 3, fill: "var(--late)" }, group);
    });
    let from = width - right;
    for (const [number, lane] of [...stack.entries()].reverse()) {
      const label = node("text", { x: from, y: at[0] - 8, "text-anchor": "end" }, svg, lane.pool);
      from -= label.getComputedTextLength() + 8;
      node("rect", { x: from - 8, y: at[0] - 17, width: 10, height: 10, rx: 3, fill: `var(--c${lane.isSpot ? 1 + number : number})`, "fill-opacity": lane.isSpot ? .45 : .7 }, svg);
      from -= 20;
    }
    if (shut.length) { const label = node("text", { x: from, y: at[0] - 8, "text-anchor": "end", fill: "var(--late)" }, svg, "red: none to be had"); from -= label.getComputedTextLength(); }
  };

  // Load.
  const loads = [26, 106], load_most = 1.05 * Math.max(1e-9, ...cut(first, "load"));
  const load_y = (v) => loads[1] - (loads[1] - loads[0]) * v / load_most;
  grid(...loads, load_most, load_y);
  let group = panel(...loads, "load, items a second");
  const line = path(first, "load", load_y);
  const [a, b] = range(first);
  node("path", { d: `${line}L${x(first.start + (b - 1) * first.step)},${loads[1]}L${x(first.start + a * first.step)},${loads[1]}Z`, fill: "var(--load-fill)" }, group);
  node("path", { d: line, fill: "none", stroke: "var(--load)", "stroke-width": 1.2 }, group);

  // Delay: up to the objective in proportion, above it by powers of ten; in proportion where there is none.
  const delays = [146, 296], limit = data.stages[stage].objective;
  const delay_most = Math.max(limit === null ? 1 : limit * 1.6, ...lines.flatMap((it) => cut(it.series, "delay")));
  const low = 0.62;
  const delay_y = (v) => { const up = limit === null ? v / delay_most : v <= limit ? low * v / limit : low + (1 - low) * Math.log(v / limit) / Math.log(delay_most / limit); return delays[1] - (delays[1] - delays[0]) * Math.min(1, up); };
  if (limit !== null) node("rect", { x: left, width: width - left - right, y: delays[0], height: delay_y(limit) - delays[0], fill: "var(--late-zone)" }, svg);
  const marks = limit === null ? [0, 0.25, 0.5, 0.75, 1].map((it) => it * delay_most) : [0, limit / 2, limit, ...[3, 10, 30, 100, 1000].map((it) => it * limit).filter((it) => it < delay_most * 0.95)];
  for (const value of marks) {
    node("line", { x1: left, x2: width - right, y1: delay_y(value), y2: delay_y(value), stroke: value === limit ? "var(--late)" : "var(--grid)", "stroke-dasharray": value === limit ? "5 4" : "none" }, svg);
    node("text", { x: left - 8, y: delay_y(value) + 4, "text-anchor": "end" }, svg, span(value));
  }
  group = panel(...delays, `delay of the oldest waiting item${limit === null ? "" : "; the shaded part is late"}`);
  for (const it of own_last) node("path", { d: path(it.series, "delay", delay_y), fill: "none", stroke: colour(it.at), "stroke-width": it.at === own ? 1.6 : 1.1, "stroke-opacity": it.at === own ? 1 : .75, "stroke-linejoin": "round" }, group);

  // Replicas, and the decisions behind them.
  const pods = [336, 524], pods_most = 1.05 * Math.max(1, ...lines.flatMap((it) => cut(it.series, "replicas")));
  const pods_y = (v) => pods[1] - (pods[1] - pods[0]) * v / pods_most;
  grid(...pods, pods_most, pods_y);
  group = panel(...pods, "replicas, those that start included");
  for (const it of own_last) node("path", { d: path(it.series, "replicas", pods_y, true), fill: "none", stroke: colour(it.at), "stroke-width": it.at === own ? 1.8 : 1.2, "stroke-opacity": it.at === own ? 1 : .8 }, group);
  const floor = lanes.length ? 694 : pods[1];
  if (lanes.length) placing([pods[1] + 40, floor]);
  for (const s of ticks) node("text", { x: x(s), y: floor + 18, "text-anchor": x(s) > width - 60 ? "end" : "middle" }, svg, clock(s));
  const dots = node("g", { "clip-path": "url(#inside)" }, svg);

  // Reading values, and looking closer.
  const cross = node("line", { y1: loads[0], y2: floor, stroke: "var(--soft)", "stroke-opacity": 0 }, svg);
  const brush = node("rect", { y: loads[0], height: floor - loads[0], fill: "var(--c0)", "fill-opacity": .12, width: 0 }, svg);
  const catcher = node("rect", { x: left, y: 0, width: width - left - right, height, fill: "transparent" }, svg);
  let began = null;
  const place = (event) => (event.clientX - svg.getBoundingClientRect().left) * width / svg.getBoundingClientRect().width;
  catcher.addEventListener("pointermove", (event) => {
    const px = place(event), s = at(px);
    cross.setAttribute("x1", px); cross.setAttribute("x2", px); cross.setAttribute("stroke-opacity", .5);
    if (began !== null) { brush.setAttribute("x", Math.min(began, px)); brush.setAttribute("width", Math.abs(px - began)); }
    const i = Math.min(first.load.length - 1, Math.max(0, Math.floor((s - first.start) / first.step)));
    const rows = lines.map((it) => `<div class="row"><span><span class="swatch" style="background:${colour(it.at)}"></span>${escape(it.name)}</span><span>${number(it.series.replicas[i])} <span class="soft">replicas,</span> ${span(it.series.delay[i])}</span></div>`);
    tip(event, `<b>${clock(s)}</b> <span class="soft">${number(first.load[i])} items a second</span>${rows.join("")}`);
  });
  catcher.addEventListener("pointerleave", () => { cross.setAttribute("stroke-opacity", 0); if (began === null) tip(); });
  catcher.addEventListener("pointerdown", (event) => { began = place(event); catcher.setPointerCapture(event.pointerId); });
  catcher.addEventListener("pointerup", (event) => {
    const ended = place(event), [a, b] = [at(Math.min(began, ended)), at(Math.max(began, ended))];
    began = null;
    if (b - a > 4 * first.step) { view = [Math.max(whole[0], a), Math.min(whole[1], b)]; timeline(); }
    else brush.setAttribute("width", 0);
  });
  catcher.addEventListener("dblclick", () => { view = null; timeline(); });
  svg.appendChild(dots);
  const mine = lines.find((it) => it.at === own);
  const moves = mine ? mine.moves.filter((it) => from <= it.at && it.at <= to) : [];
  for (const move of moves) {
    const dot = node("circle", { cx: x(move.at), cy: pods_y(move.to), r: moves.length > 120 ? 2.6 : 3.6, fill: colour(own), stroke: "var(--card)", "stroke-width": 1.2, class: "dot" }, dots);
    dot.addEventListener("pointermove", (event) => tip(event, story(move)));
    dot.addEventListener("pointerleave", () => tip());
  }
}

const split = (move) => move.lanes ? ` (${move.lanes.join(" + ")})` : "";
const story = (move) => `<b>${moment(move.at)}</b> &nbsp;${move.from} → <b>${move.to}</b> replicas${split(move)}${move.code ? `<br><span class="soft">${escape(move.code)}</span><br>${escape(move.sentence)}` : ""}`;

// ---- decisions ---------------------------------------------------------------------------------------------------------
function decisions() {
  const moves = data.policies[own].moves[stage].filter((it) => it.sentence);
  $("decisions").hidden = moves.length === 0;
  const where = data.stages.length > 1 ? ` on ${data.stages[stage].name}` : "";
  $("decisions-title").textContent = `The decisions of ${data.policies[own].name}${where}, and why`;
  const counts = new Map();
  for (const it of moves) counts.set(it.code, 1 + (counts.get(it.code) || 0));
  $("reasons").innerHTML = [...counts].sort((a, b) => b[1] - a[1]).map(([code, count]) => `<span><b>${count}</b> ${escape(code)}</span>`).join("");
  const most = 500;
  const rows = moves.slice(0, most).map((it) => `<tr><td>${moment(it.at)}</td><td class="${it.from < it.to ? "up" : "down"}">${it.from} → ${it.to}${split(it)}</td><td>${escape(it.code || "")}</td><td>${escape(it.sentence)}</td></tr>`);
  const rest = moves.length > most ? `<tr><td></td><td></td><td></td><td>${plural(moves.length - most, "more move")}</td></tr>` : "";
  $("moves").innerHTML = `<tr><th>when</th><th>replicas</th><th>reason</th><th>in words</th></tr>${rows.join("")}${rest}`;
}

function draw() { frontier(); timeline(); }
head(); scores(); buttons(); decisions(); draw();
if (data.about) $("footer").textContent = data.about.footer;
else $("footer").innerHTML = `Made by <code>penstock simulate</code> ${escape(data.version)}: a fluid world in steps of a second, the very same decisions as the daemon's, the same arrivals and mishaps for every policy.`;
let pending;
addEventListener("resize", () => { cancelAnimationFrame(pending); pending = requestAnimationFrame(draw); });
