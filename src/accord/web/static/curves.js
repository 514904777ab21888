// Curves drawn as SVG from numbers. Colours and letters are the style sheet's.

import { element } from "./elements.js";

const [WIDTH, HEIGHT] = [360, 170];
const [LEFT, RIGHT, TOP, BOTTOM] = [50, 10, 8, 26];
const DOTS = 30; // a line with fewer points shows them

function svg(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// A number as short as it can be read.
export function short(value) {
  const size = Math.abs(value);
  if (value !== 0 && (size >= 1e5 || size < 1e-3)) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}

// Round numbers between low and high, two or more.
function ticks(low, high, num) {
  const raw = (high - low) / num;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
  const found = [];
  for (let at = Math.ceil(low / step); at <= Math.floor(high / step + 1e-9); at++) found.push(at * step);
  return found.length < 2 && num < 12 ? ticks(low, high, num + 1) : found;
}

function bounds(values, room) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  if (low === high) {
    const around = Math.abs(low) * 0.1 || 1;
    return [low - around, high + around];
  }
  return [low - room * (high - low), high + room * (high - low)];
}

function lineOf(points, x, y, number) {
  const group = svg("g", { class: `line l${number}` });
  if (points.length > 1) group.append(svg("polyline", { points: points.map(([a, b]) => `${x(a)},${y(b)}`).join(" ") }));
  if (points.length < DOTS) group.append(...points.map(([a, b]) => svg("circle", { cx: x(a), cy: y(b), r: 2.2 })));
  return group;
}

function legend(lines) {
  const found = element("p", { className: "legend" });
  lines.forEach(({ name, points }, number) => {
    const last = points[points.length - 1][1];
    found.append(element("span", { className: `key l${number}` }), `${name} `, element("strong", { text: short(last) }), " ");
  });
  return found;
}

// A figure: title, picture, and each line's name with its last value. unit: what x counts.
export function curve({ title, share, lines }, unit) {
  const points = lines.flatMap((line) => line.points);
  const [x0, x1] = bounds(points.map(([x]) => x), 0);
  const [y0, y1] = share ? [0, 1] : bounds(points.map(([, y]) => y), 0.05);
  const x = (value) => (LEFT + ((value - x0) / (x1 - x0)) * (WIDTH - LEFT - RIGHT)).toFixed(1);
  const y = (value) => (HEIGHT - BOTTOM - ((value - y0) / (y1 - y0)) * (HEIGHT - TOP - BOTTOM)).toFixed(1);
  const said = lines.map((line) => `${line.name} ${short(line.points[line.points.length - 1][1])}`).join(", ");
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}, at last ${said}` });
  for (const value of ticks(y0, y1, 3)) {
    picture.append(svg("line", { class: "rule", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
    picture.append(svg("text", { x: LEFT - 6, y: Number(y(value)) + 4, "text-anchor": "end" }, short(value)));
  }
  const whole = ticks(x0, x1, 4).filter((value) => Number.isInteger(value));
  for (const value of whole) picture.append(svg("text", { x: x(value), y: HEIGHT - 10, "text-anchor": "middle" }, String(value)));
  picture.append(svg("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM }));
  lines.forEach((line, number) => picture.append(lineOf(line.points, x, y, number)));
  const head = element("h3", { text: title });
  const foot = element("p", { text: unit, className: "hint unit" });
  return element("figure", { className: "curve" }, head, picture, element("div", { className: "below" }, legend(lines), foot));
}
