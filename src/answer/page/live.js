// What is new, as it comes. Keeps every pipeline's line and the whole of the one that is shown; says when something changed, and how the
// connection fares. A page that nobody looks at closes its stream and comes back where it was.
import { ask } from "./session.js";

const AWAY = 20_000;
const RETRY = 10_000;
const POLL = 5_000;

export class Live extends EventTarget {
  rows = new Map();
  at = new Date().toISOString();
  /** The pipeline that is shown whole: its name, and what is known of it. */
  focus = null;
  whole = null;
  #source = null;
  #version = null;
  #timers = [];

  constructor() {
    super();
    let leaving;
    document.addEventListener("visibilitychange", () => {
      clearTimeout(leaving);
      if (document.hidden) leaving = setTimeout(() => this.#close(), AWAY);
      else if (!this.#source) this.open(this.focus);
    });
    // A page that a browser keeps for the way back would keep its connection too, and there are six of them.
    addEventListener("pagehide", () => this.#close());
    addEventListener("pageshow", (event) => { if (event.persisted) this.open(this.focus); });
  }

  get isOpen() { return this.#source !== null; }

  /** Opens the stream anew, with the whole of `NAMESPACE/NAME` in it, or without. */
  open(focus = null) {
    if (focus !== this.focus) this.whole = null;
    this.#close();
    this.focus = focus;
    const query = new URLSearchParams();
    if (this.#version) query.set("since", this.#version);
    if (focus) query.set("pipeline", focus);
    const source = this.#source = new EventSource(`api/v1/stream?${query}`);
    source.onopen = () => this.#say("live");
    source.addEventListener("pipelines", (event) => { this.#version = event.lastEventId; this.#take(JSON.parse(event.data)); });
    source.addEventListener("pipeline", (event) => {
      this.whole = JSON.parse(event.data);
      this.dispatchEvent(new Event("whole"));
    });
    // The daemon looks anew at who asks.
    source.addEventListener("again", () => this.open(this.focus));
    source.onerror = () => {
      // A browser tries again by itself, unless it was refused: then we look now and then, and ask for a place again.
      if (source.readyState !== EventSource.CLOSED) return this.#say("cut");
      if (source !== this.#source) return;
      this.#close();
      this.#say("cut");
      this.#timers = [setInterval(() => this.#poll(), POLL), setTimeout(() => this.open(this.focus), RETRY + 5_000 * Math.random())];
      this.#poll();
    };
  }

  #close() {
    this.#source?.close();
    this.#source = null;
    for (const timer of this.#timers) { clearTimeout(timer); clearInterval(timer); }
    this.#timers = [];
  }

  async #poll() {
    try {
      const get = async (path) => {
        const answer = await ask(path);
        if (answer.ok) return answer.json();
        if (answer.status === 404) return { isGone: true };
        // Who has to sign in first is not asked for again and again.
        if (answer.status === 401) this.#close();
        throw new Error((await answer.json()).message);
      };
      const { at, pipelines } = await get("api/v1/overview");
      if (this.#source) return;
      this.#version = null;
      this.#take({ at, pipelines, isWhole: true, gone: [] });
      const focus = this.focus;
      if (focus) {
        const whole = await get(`api/v1/pipelines/${focus}`);
        if (focus === this.focus) { this.whole = whole; this.dispatchEvent(new Event("whole")); }
      }
      if (!this.#source) this.#say("polling");
    } catch (error) {
      this.#say("cut", error instanceof TypeError ? undefined : error.message);
    }
  }

  #take({ at, isWhole, pipelines, gone }) {
    this.at = at;
    if (isWhole) this.rows.clear();
    for (const row of pipelines) this.rows.set(`${row.namespace}/${row.name}`, row);
    for (const id of gone) this.rows.delete(id);
    this.dispatchEvent(new Event("rows"));
  }

  #say(state, why) {
    this.dispatchEvent(new CustomEvent("state", { detail: { state, why } }));
  }
}
