/** Follow a stream of server-sent events while the page is seen, and tell whether its numbers are of now. */

import { make, say } from "./answers.js";

const MAX_FAILURES = 3;
const POLL_MILLISECONDS = 5000;

export class Stream {
  /**
   * @param {object} options
   * @param {(lastId: string) => string} options.address the address, given the id of the last event, or an empty text
   * @param {Record<string, (data: any) => void>} options.handlers what is done with each kind of event
   * @param {() => Promise<void>} options.refresh asks for the same without a stream, when streams fail
   * @param {Element} options.indicator where it is told whether the numbers are of now
   */
  constructor({ address, handlers, refresh, indicator }) {
    Object.assign(this, { address, handlers, refresh });
    this.lastId = "";
    this.failures = 0;
    this.isPaused = false;
    this.hasEnded = false;
    this.text = make("span");
    this.button = make("button", { type: "button" });
    this.button.addEventListener("click", () => this.pause(!this.isPaused));
    indicator.replaceChildren(this.text, this.button);
    indicator.hidden = false;
    this.indicator = indicator;
    document.addEventListener("visibilitychange", () => this.#choose());
    addEventListener("pagehide", () => this.#close());
    addEventListener("pageshow", (event) => event.persisted && this.#choose());
    this.pause(false);
  }

  /** Stop or go on. @param {boolean} isPaused */
  pause(isPaused) {
    this.isPaused = isPaused;
    this.button.textContent = say(isPaused ? "script.live.resume" : "script.live.pause");
    this.#choose();
  }

  /** End for good: there is no news any more. */
  end() {
    this.hasEnded = true;
    this.#close();
    this.indicator.hidden = true;
  }

  #choose() {
    if (this.hasEnded) return;
    if (this.isPaused || document.hidden) {
      this.#close();
      this.#tell("script.live.as_of");
    } else if (!this.source && !this.timer) this.#open();
  }

  #open() {
    this.source = new EventSource(this.address(this.lastId));
    this.source.addEventListener("open", () => {
      this.failures = this.retries = 0;
      this.#tell("script.live.now");
    });
    for (const [kind, handle] of Object.entries(this.handlers)) {
      this.source.addEventListener(kind, (event) => {
        this.lastId = event.lastEventId;
        handle(JSON.parse(event.data));
      });
    }
    this.source.addEventListener("error", () => this.#fail());
  }

  #fail() {
    if (this.hasEnded) return;
    this.failures += 1;
    this.#tell("script.live.reconnecting");
    const isRefused = this.source?.readyState === EventSource.CLOSED;
    if (!isRefused && this.failures < MAX_FAILURES) return; // the browser tries again by itself
    this.#close();
    this.timer = setInterval(() => this.#poll(), POLL_MILLISECONDS);
    if (isRefused) this.#poll();
  }

  async #poll() {
    try {
      await this.refresh();
      this.#tell("script.live.as_of");
      clearInterval(this.timer); // the service answers: try a stream again
      this.timer = undefined;
      this.failures = 0;
      this.retries = (this.retries ?? 0) + 1;
      setTimeout(() => this.#choose(), Math.min(this.retries, 12) * POLL_MILLISECONDS);
    } catch {
      this.#tell("script.live.reconnecting");
    }
  }

  #close() {
    this.source?.close();
    this.source = undefined;
    clearInterval(this.timer);
    this.timer = undefined;
  }

  /** @param {string} key */
  #tell(key) {
    const time = new Intl.DateTimeFormat(document.documentElement.lang, { timeStyle: "short" }).format(new Date());
    this.text.textContent = say(key, { time });
  }
}

/** Return a function that calls `draw` once for each frame, however often it is called. @param {() => void} draw */
export function oncePerFrame(draw) {
  let isAsked = false;
  return () => {
    if (isAsked) return;
    isAsked = true;
    requestAnimationFrame(() => {
      isAsked = false;
      draw();
    });
  };
}
