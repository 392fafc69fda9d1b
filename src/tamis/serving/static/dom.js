// Elements made without markup: whatever a message holds becomes a text node or an attribute, never HTML.

const SVG = "http://www.w3.org/2000/svg";

/** The element of that id. */
export const byId = (id) => document.getElementById(id);

/** An element with attributes (true: present, false and null: absent) and children (strings become text nodes). */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same in SVG. */
export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

/** A text that only screen readers get. */
export const hidden = (text) => element("span", { class: "hidden" }, text);

/** A button; `more` completes its name for those who do not see what it stands beside. */
export function button(text, more, press, attributes = {}) {
  const made = element("button", { type: "button", ...attributes }, text, more ? hidden(` ${more}`) : null);
  made.addEventListener("click", press);
  return made;
}

/** Fill a select from pairs of value and text. */
export function options(select, pairs) {
  select.replaceChildren(...pairs.map(([value, text]) => element("option", { value }, text)));
}

/** A button whose work is under way does nothing more, and keeps the focus. */
export async function busy(pressed, work) {
  if (pressed.getAttribute("aria-disabled") === "true") return;
  pressed.setAttribute("aria-disabled", "true");
  try {
    await work();
  } finally {
    pressed.removeAttribute("aria-disabled");
  }
}

/** Tell those who do not see the page what happened. */
export function announce(text) {
  byId("said").textContent = text;
}

/** Say that something went wrong, until the next thing is tried; nothing takes it away. */
export function complain(text) {
  byId("alert").replaceChildren(...(text ? [element("p", { class: "notice" }, text)] : []));
}

/** A whole number as people read it. */
export const count = (number) => number.toLocaleString("en");

/** A count with its noun. */
export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** A probability in three decimals; what is not quite 0 or 1 never looks like it. */
export function probability(value) {
  if (value > 0 && value < 0.001) return "< 0.001";
  if (value < 1 && value > 0.999) return "> 0.999";
  return value.toFixed(3);
}

/** The beginning of a text too long to be shown, with what is missing. */
export function beginning(text, most) {
  if (text.length <= most) return text;
  // Half of a surrogate pair would show as a broken character.
  const end = /[\uD800-\uDBFF]/.test(text[most - 1]) ? most - 1 : most;
  return `${text.slice(0, end)} … (${count(text.length - end)} more characters)`;
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}
