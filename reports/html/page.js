"use strict";
/* Helpers of the whole page: data blocks, copying, light or dark, printing, and tables that sort and copy.
   The page is built with createElement and textContent alone; texts of models and users are never markup. */
const KEPT = 60;
const blocks = new Map();
const $ = (id) => document.getElementById(id);

function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

const button = (text, does, more) => el("button", { type: "button", onclick: does, ...more }, text);

/* ---- data blocks ---- */

/* A file of a report in several files hands its block over by this name; only such a report may load files. */
const arrived = new Map();
globalThis.mipoBenchBlock = (id, data) => arrived.set(id, data);
const filePolicy = document.querySelector("script[data-file]") && globalThis.trustedTypes
  ? trustedTypes.createPolicy("files", { createScriptURL: (name) => {
    if (!/^texts\/[0-9]+-[0-9]+\.js$/.test(name)) throw new TypeError("not a file of this report: " + name);
    return name;
  } }) : null;

function fromFile(block) {
  return new Promise((done, fail) => {
    const script = document.createElement("script");
    script.addEventListener("load", () => { script.remove(); done(arrived.get(block.id) || ""); arrived.delete(block.id); });
    script.addEventListener("error", () => { script.remove(); fail(new Error("the file " + block.dataset.file + " is missing")); });
    script.src = filePolicy ? filePolicy.createScriptURL(block.dataset.file) : block.dataset.file;
    document.head.append(script);
  });
}

async function sha256(bytes) {
  const found = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...found].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/* The JSON of a data block; null where the report has no such block. */
async function unpack(id) {
  const block = $(id);
  if (!block) return null;
  const text = block.dataset.file ? await fromFile(block) : block.textContent;
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const raw = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"))).arrayBuffer();
  if (raw.byteLength !== Number(block.dataset.size)) throw new Error("it has another length than it should");
  if (block.dataset.sha256 && await sha256(raw) !== block.dataset.sha256) throw new Error("its digest is another one");
  return JSON.parse(new TextDecoder().decode(raw));
}

/* The unpacked block; the last KEPT blocks stay in memory. */
function load(id) {
  if (!blocks.has(id) && blocks.size >= KEPT) blocks.delete(blocks.keys().next().value);
  if (!blocks.has(id)) blocks.set(id, unpack(id).catch((error) => ({ damaged: String(error.message || error) })));
  return blocks.get(id);
}

/* ---- copying and saving ---- */
let saidLast = 0;

function say(text) {
  $("status").textContent = text;
  clearTimeout(saidLast);
  saidLast = setTimeout(() => { $("status").textContent = ""; }, 6000);
}

async function copy(text, name) {
  try {
    await navigator.clipboard.writeText(text);
    say(name + " copied");
  } catch (error) {
    say("this browser does not allow copying: " + (error.message || error));
  }
}

function save(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/* ---- light or dark, printing ---- */
const theme = $("theme");
theme.hidden = false;
theme.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
window.addEventListener("beforeprint", () => { for (const d of document.querySelectorAll("details")) d.open = true; });

/* ---- tables ---- */

/* The text of a cell without the marks of its footnotes. */
const written = (cell) => (cell && cell.firstChild ? cell.firstChild.textContent.trim() : "");
const FIGURE = /^[~<*]?\s*([-+]?(?:\d+\.?\d*|\.\d+))/;
const figure = (text) => { const found = text.replace(/(\d),(?=\d{3})/g, "$1").match(FIGURE); return found ? Number(found[1]) : null; };

/* The rows by one column, figures as figures; empty cells come last. Rows stay below their heading. */
function sorted(rows, column, way) {
  const texts = rows.filter((row) => row.cells.length > 1).map((row) => written(row.cells[column])).filter((t) => t && t !== "-");
  const byFigure = texts.every((text) => figure(text) !== null), sign = way === "descending" ? -1 : 1;
  const value = (row) => { const text = written(row.cells[column]); return !text || text === "-" ? null : byFigure ? figure(text) : text; };
  const compare = (a, b) => {
    const x = value(a), y = value(b);
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (byFigure ? x - y : x.localeCompare(y, "en", { numeric: true }));
  };
  const groups = [[]];
  for (const row of rows) { if (row.cells.length === 1) groups.push([row], []); else groups.at(-1).push(row); }
  return groups.flatMap((group) => group.sort(compare));
}

function makeSortable(table) {
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  if (rows.filter((row) => row.cells.length > 1).length < 2) return;
  heads.forEach((head, column) => {
    if (!head.textContent.trim()) return;
    head.replaceChildren(button(head.textContent, () => {
      const way = { ascending: "descending", descending: null }[head.getAttribute("aria-sort")];
      for (const other of heads) other.removeAttribute("aria-sort");
      if (way !== null) head.setAttribute("aria-sort", way || "ascending");
      body.replaceChildren(...(way === null ? rows : sorted([...rows], column, way || "ascending")));
    }, { class: "sort" }));
  });
}

/* The texts of a table in other formats are those of the program that made the report. */
function makeCopies(table, number) {
  const formats = ["Markdown", "CSV", "LaTeX"].map((format, n) => button(format, async () => {
    const texts = await load("tables");
    if (texts.damaged) say("the tables cannot be copied: " + texts.damaged);
    else await copy(texts[number][n], "table as " + format);
  }, { "aria-label": "Copy as " + format + ": " + table.caption.textContent }));
  table.parentElement.after(el("p", { class: "copy" }, "Copy as", ...formats));
}

if (typeof DecompressionStream !== "undefined") {
  [...document.querySelectorAll("main > .task table")].forEach((table, n) => { makeSortable(table); makeCopies(table, n); });
}
