/** Tell what may stand at the caret of a spec: keys, names of layers and others, and their arguments. */

import { call, make } from "./answers.js";

const MAX_CHOICES = 12;
const KINDS = {
  layer: ["layers", "augmentation"], optimizer: ["optimizers"], loss: ["losses"], metrics: ["metrics"], activation: ["activations"],
  name: ["optimizers", "losses", "metrics", "schedules", "datasets"],
};
/** The parts of the catalog that a key takes its names from. Other keys are arguments, whose type tells it. */

export class Completion {
  /**
   * @param {HTMLTextAreaElement} text
   * @param {Element} place where it is told: with `[data-signature]` and `[data-choices]`
   * @param {Record<string, string[]>} keys the keys of the spec, and of its parts by their names
   */
  constructor(text, place, keys) {
    Object.assign(this, { text, place, keys, catalog: null });
    [this.signature, this.choices] = ["[data-signature]", "[data-choices]"].map((selector) => place.querySelector(selector));
    for (const name of ["click", "keyup"]) text.addEventListener(name, () => this.show());
    text.addEventListener("keydown", (event) => {
      if (!(event.ctrlKey && event.code === "Space")) return;
      event.preventDefault();
      this.show().then(() => this.choices.querySelector("button")?.focus());
    });
    place.addEventListener("keydown", (event) => {
      const buttons = [...this.choices.children], at = buttons.indexOf(event.target);
      if (event.key === "Escape") text.focus();
      const next = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1 }[event.key];
      if (at < 0 || next === undefined) return;
      event.preventDefault();
      buttons[(next + buttons.length) % buttons.length].focus();
    });
  }

  /** Show what may stand here. */
  async show() {
    this.catalog ??= await call("/api/v1/catalog").catch(() => null);
    if (!this.catalog || this.choices.contains(document.activeElement)) return; // who chooses is not disturbed
    const { value, selectionStart: caret } = this.text;
    const start = value.lastIndexOf("\n", caret - 1) + 1, before = value.slice(start, caret);
    const line = value.slice(start).split("\n", 1)[0];
    const known = this.#find(/\b(?:layer|name|optimizer|loss):\s*([A-Za-z0-9_]+)/.exec(line)?.[1]);
    this.signature.hidden = !known;
    if (known) this.#describe(known);
    const [word, names, end] = this.#list(before, value.slice(0, start), line, known);
    const found = names.filter((name) => name.toLowerCase().startsWith(word.toLowerCase()) && name !== word).slice(0, MAX_CHOICES);
    this.choices.hidden = !found.length;
    this.choices.replaceChildren(...found.map((name) => {
      const button = make("button", { type: "button", class: "small", translate: "no" }, name);
      button.addEventListener("click", () => this.#insert(caret - word.length, caret, name + end));
      return button;
    }));
    this.place.hidden = !known && !found.length;
  }

  /** Return the word before the caret, all that may stand in its place, and what follows it. */
  #list(before, above, line, known) {
    const value = /\b([a-z_]+):\s*\[?(?:\s*[\w.]+,)*\s*([\w.]*)$/i.exec(before);
    if (value && (!before.includes("{") || before.lastIndexOf(":") > before.lastIndexOf(",") || /\[[^\]]*$/.test(before))) {
      const [, key, word] = value, type = known?.arguments.find((one) => one.name === key)?.type;
      const kinds = KINDS[key] ?? (type && [`${type}s`]) ?? [];
      return [word, kinds.flatMap((kind) => this.catalog[kind] ?? []).map((one) => one.name ?? one), ""];
    }
    const argument = /[{,]\s*([a-z_]*)$/.exec(before);
    if (argument && known) return [argument[1], known.arguments.map((one) => one.name).filter((name) => !line.includes(`${name}:`)), ": "];
    const key = /^( *)([a-z_]*)$/.exec(before);
    if (!key) return ["", [], ""];
    const parent = key[1] ? findParent(above, key[1].length) : "";
    return [key[2], (this.keys[parent] ?? []).filter((name) => !new RegExp(`^${key[1]}${name}:`, "m").test(this.text.value)), ": "];
  }

  #find(name) {
    const { layers, augmentation, optimizers, schedules, losses, metrics } = this.catalog;
    return name && [...layers, ...augmentation, ...optimizers, ...schedules, ...losses, ...metrics].find((one) => one.name === name);
  }

  #describe({ name, description, arguments: all }) {
    const list = all.map((one) => (one.required ? one.name : `${one.name}=${JSON.stringify(one.default)}`)).join(", ");
    this.signature.replaceChildren(make("code", {}, `${name}(${list})`), make("span", { lang: "en" }, ` ${description}`));
  }

  #insert(from, to, text) {
    this.text.focus();
    this.text.setRangeText(text, from, to, "end");
    this.text.dispatchEvent(new Event("input", { bubbles: true }));
    this.show();
  }
}

/** Return the key that a line stands below. @param {string} above @param {number} indent */
function findParent(above, indent) {
  for (const line of above.split("\n").reverse()) {
    const found = /^( *)([a-z_]+):/.exec(line);
    if (found && found[1].length < indent) return found[2];
  }
  return "";
}
