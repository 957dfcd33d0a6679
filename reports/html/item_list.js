/* The list of items: filters, order, search, pages, and the listed rows as a file. `state` is what the address says. */
const PAGE = 50, CHUNK = 64;
let turn = 0;

/* The tasks by name, each with its number. */
const tasks = new Map();
for (const link of document.querySelectorAll("nav a[href^='#task-']")) {
  tasks.set(link.dataset.task, { name: link.textContent, number: Number(link.hash.slice(6)) - 1 });
}
const hasTexts = (task) => $("starts-" + task.number) !== null;

async function indexOf(task) {
  const found = await load("index-" + task.number);
  if (found.damaged || found.methods) return found;
  found.methods = new Map();
  found.arms.forEach((arm, n) => {
    for (const name of ["cut", "none"]) arm[name] = new Set(arm[name]);
    if (!found.methods.has(arm.method)) found.methods.set(arm.method, []);
    found.methods.get(arm.method).push(n);
  });
  return found;
}

/* The mean over the training seeds of a method on an item: of its score, or of its tokens. */
function mean(index, method, item, values = "scores") {
  const arms = index.methods.get(method) || [];
  return arms.reduce((sum, n) => sum + index.arms[n][values][item], 0) / arms.length;
}

const delta = (x, s, i) => mean(x, s.method, i) - mean(x, s.base, i);
const longer = (x, s, i) => mean(x, s.method, i, "tokens") / mean(x, s.base, i, "tokens");
const anyArm = (index, state, test) =>
  [state.base, state.method].some((m) => (index.methods.get(m) || []).some((n) => test(index.arms[n])));

const SHOWN = {
  any: ["all items", () => true],
  improved: ["improved", (x, s, i) => delta(x, s, i) > 0],
  regressed: ["regressed", (x, s, i) => delta(x, s, i) < 0],
  equal: ["equal", (x, s, i) => delta(x, s, i) === 0],
  seeds: ["training seeds disagree", (x, s, i) =>
    new Set((x.methods.get(s.method) || []).map((n) => x.arms[n].scores[i])).size > 1],
  cut: ["cut at the token limit", (x, s, i) => anyArm(x, s, (arm) => arm.cut.has(i))],
  none: ["no answer found", (x, s, i) => anyArm(x, s, (arm) => arm.none.has(i))],
  failed: ["failed", (x, s, i) => anyArm(x, s, (arm) => Object.hasOwn(arm.failed, String(i)))],
};
const LENGTHS = {
  "": ["any", () => true],
  double: ["at least twice as long", (ratio) => ratio >= 2],
  longer: ["at least 20% longer", (ratio) => ratio >= 1.2],
  shorter: ["at least 20% shorter", (ratio) => ratio <= 0.8],
  half: ["at most half as long", (ratio) => ratio <= 0.5],
};
const length = (x, s, i) => Math.max(...(x.methods.get(s.method) || []).map((n) => x.arms[n].tokens[i]));
const byScore = (of, sign) => (x, s) => (a, b) => sign * (mean(x, s[of], a) - mean(x, s[of], b));
const SORTED = {
  item: ["order of the task", null],
  worst: ["largest loss first", (x, s) => (a, b) => delta(x, s, a) - delta(x, s, b)],
  best: ["largest gain first", (x, s) => (a, b) => delta(x, s, b) - delta(x, s, a)],
  user: ["user", (x) => (a, b) => (x.users && x.users[a] !== x.users[b] ? (x.users[a] < x.users[b] ? -1 : 1) : a - b)],
  length: ["longest response first", (x, s) => (a, b) => length(x, s, b) - length(x, s, a)],
  "base-low": ["lowest base score first", byScore("base", 1)],
  "base-high": ["highest base score first", byScore("base", -1)],
  "method-low": ["lowest method score first", byScore("method", 1)],
  "method-high": ["highest method score first", byScore("method", -1)],
};

function chosen(index, state) {
  const least = Number(state.least) || 0, fits = LENGTHS[state.length][1];
  const found = [];
  for (let i = 0; i < index.items.length; i += 1) {
    const user = !state.user || (index.users && index.users[i] === state.user);
    const part = !state.part || (index.methods.get(state.method) || []).some((n) => {
      const values = Object.hasOwn(index.arms[n].parts, state.part) ? index.arms[n].parts[state.part] : [];
      return values[i] !== null && values[i] !== undefined && values[i] < 1;
    });
    const large = !least || Math.abs(delta(index, state, i)) >= least - 1e-9;
    if (user && part && large && fits(longer(index, state, i)) && SHOWN[state.show][1](index, state, i)) found.push(i);
  }
  return found;
}

async function textsOf(task, item) {
  const block = await load("texts-" + task.number + "-" + Math.floor(item / CHUNK));
  if (block && block.damaged) return { damaged: block.damaged };
  return block ? block[item % CHUNK] : null;
}

/* Everything that can be read of an item, in lower case, for the search. */
async function searched(index, task, item) {
  const texts = await textsOf(task, item);
  const own = [index.items[item], index.users ? index.users[item] : ""];
  if (texts && !texts.damaged) {
    own.push(texts.prompt || "", texts.profile || "", ...texts.texts);
    for (const arm of texts.arms || []) own.push(...((arm && arm.verdicts) || []).map((verdict) => verdict.text));
  }
  return own.join("\n").toLowerCase();
}

/* The items that hold the words. They are read in the order of the task, so that each block is unpacked once. */
async function withWords(index, task, items, words) {
  const mine = turn, hits = [];
  for (const [n, item] of items.entries()) {
    if (mine !== turn) return null;
    if (n % 256 === 0 && $("progress")) $("progress").textContent = "Searching the texts: " + n + " of " + items.length + " items";
    if ((await searched(index, task, item)).includes(words)) hits.push(item);
  }
  return hits;
}

/* The items that fit, sorted. The last answer is kept, so that the next item of a search needs no search. */
const lastFound = { key: "", items: [] };

async function found(index, task, state) {
  const key = JSON.stringify({ ...state, page: 0 });
  if (lastFound.key === key) return lastFound.items;
  const all = chosen(index, state), order = SORTED[state.sort][1];
  const items = state.q ? await withWords(index, task, all, state.q.toLowerCase()) : all;
  if (!items) return [];
  if (order) items.sort(order(index, state));
  Object.assign(lastFound, { key, items });
  return items;
}

/* ---- numbers ---- */
const score = (value) => value.toFixed(3).replace(/^0\./, ".");
const signed = (value) => (value < 0 ? "-" : "+") + score(Math.abs(value));

/* A score as one to five filled marks, for the eye alone. */
function bar(value) {
  const filled = Math.max(0, Math.min(5, Math.round(value * 5)));
  return el("span", { class: "glyphs", "aria-hidden": "true" }, "\u25AE".repeat(filled) + "\u25AF".repeat(5 - filled) + " ");
}

function mark(value) {
  if (value === 0) return el("span", {}, "0");
  return el("span", { class: value > 0 ? "up" : "down" }, (value > 0 ? "\u25B2 " : "\u25BC ") + signed(value));
}

/* ---- addresses ---- */
const route = (page, state, more) => {
  const all = Object.entries({ ...state, ...more }).filter(([, value]) => value !== "" && value !== null);
  return "#/" + page + "?" + new URLSearchParams(all);
};

function read(parameters, key, index) {
  const methods = [...index.methods.keys()];
  const pick = (name, known, other) => (known.includes(parameters.get(name)) ? parameters.get(name) : other);
  const [base, method] = index.pair || [methods[0], methods[methods.length - 1]];
  return {
    task: key,
    base: pick("base", methods, base),
    method: pick("method", methods, method),
    show: pick("show", Object.keys(SHOWN), "any"),
    sort: pick("sort", Object.keys(SORTED), "item"),
    length: pick("length", Object.keys(LENGTHS), ""),
    least: Number(parameters.get("least")) > 0 ? parameters.get("least") : "",
    user: parameters.get("user") || "",
    part: parameters.get("part") || "",
    q: parameters.get("q") || "",
    page: Math.max(1, Number.parseInt(parameters.get("page") || "1", 10) || 1),
  };
}

/* ---- filters ---- */
function select(name, label, value, options, change) {
  const box = el("select", { id: "f-" + name, onchange: (event) => change(event.target.value) },
    ...options.map(([key, text]) => el("option", { value: key, selected: key === value }, text)));
  return el("label", {}, label, box);
}

function filters(state, index) {
  const go = (more) => { location.hash = route("items", state, { page: 1, ...more }); };
  const named = (choices) => Object.entries(choices).map(([key, [text]]) => [key, text]);
  const methods = [...index.methods.keys()].map((m) => [m, m]);
  const parts = [...new Set(index.arms.flatMap((arm) => Object.keys(arm.parts)))];
  const search = el("input", { type: "search", value: state.q, id: "f-search" });
  const least = el("input", { type: "number", min: 0, step: "any", value: state.least, id: "f-least",
    onchange: (event) => go({ least: event.target.value }) });
  return el("form", { class: "bar", onsubmit: (event) => { event.preventDefault(); go({ q: search.value, least: least.value }); } },
    select("task", "Task", state.task, [...tasks].map(([key, task]) => [key, task.name]),
      (task) => { location.hash = "#/items?" + new URLSearchParams({ task }); }),
    select("base", "Base", state.base, methods, (base) => go({ base })),
    select("method", "Method", state.method, methods, (method) => go({ method })),
    select("show", "Show", state.show, named(SHOWN), (show) => go({ show })),
    el("label", {}, "Difference at least", least),
    parts.length ? select("part", "Part below 1", state.part, [["", "any"], ...parts.map((p) => [p, p])], (part) => go({ part })) : null,
    index.users ? select("user", "User", state.user, [["", "all"], ...[...new Set(index.users)].map((u) => [u, u])], (user) => go({ user })) : null,
    select("length", "Length against base", state.length, named(LENGTHS), (length) => go({ length })),
    select("sort", "Sort", state.sort, named(SORTED), (sort) => go({ sort })),
    el("label", {}, "Search in ids and texts", search),
    el("button", { type: "submit" }, "Search"));
}

/* ---- the listed rows as a file ---- */
function rowsOf(index, state, items) {
  return items.map((i) => ({ task: state.task, item: index.items[i], user: index.users ? index.users[i] : null,
    base: state.base, method: state.method, base_score: mean(index, state.base, i), method_score: mean(index, state.method, i),
    difference: delta(index, state, i), base_tokens: mean(index, state.base, i, "tokens"), method_tokens: mean(index, state.method, i, "tokens") }));
}

const jsonl = (rows) => rows.map((row) => JSON.stringify(row) + "\n").join("");

/* A cell that a spreadsheet would run as a formula begins with an apostrophe. */
function cell(value) {
  if (value === null) return "";
  const text = typeof value === "string" && /^[=+\-@\t\r\uFF1D\uFF0B\uFF0D\uFF20]/.test(value) ? "'" + value : String(value);
  return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}

const csv = (rows) => [Object.keys(rows[0] || {}), ...rows.map(Object.values)].map((row) => row.map(cell).join(",") + "\n").join("");

/* ---- the table of items ---- */
function row(index, starts, state, item) {
  const a = mean(index, state.base, item), b = mean(index, state.method, item);
  return el("tr", {},
    el("th", { scope: "row" }, el("a", { class: "item", href: route("item", state, { id: index.items[item] }) }, index.items[item])),
    index.users ? el("td", { class: "user" }, index.users[item]) : null,
    el("td", {}, bar(a), score(a)), el("td", {}, bar(b), score(b)),
    el("td", {}, mark(b - a)),
    starts ? el("td", { class: "snippet", dir: "auto" }, starts.damaged ? "" : starts[item]) : null);
}

/* The headings; those with an order lead to it, and to the reverse order where they have one. */
function headings(index, task, state) {
  const columns = [["item", "item"], ...(index.users ? [["user", "user"]] : []), [state.base, "base-low", "base-high"],
    [state.method, "method-low", "method-high"], ["difference", "worst", "best"], ...(hasTexts(task) ? [["prompt"]] : [])];
  return columns.map(([name, up, down], n) => {
    if (!up) return el("th", { scope: "col", class: "snippet" }, name);
    const to = state.sort === up && down ? down : up;
    const way = state.sort === up ? "ascending" : state.sort === down ? "descending" : null;
    return el("th", { scope: "col", "aria-sort": way, class: up === "user" ? "user" : null },
      el("a", { class: "sort", id: "f-column-" + n, href: route("items", state, { sort: to, page: 1 }) }, name));
  });
}

function pages(state, last) {
  const link = (text, page) => page < 1 || page > last ? el("span", {}, text) : el("a", { href: route("items", state, { page }) }, text);
  return el("p", {}, link("Previous page", state.page - 1), " \u00B7 page " + state.page + " of " + last + " \u00B7 ", link("Next page", state.page + 1));
}

async function itemList(index, task, state) {
  const all = await found(index, task, state);
  const last = Math.max(1, Math.ceil(all.length / PAGE));
  const at = { ...state, page: Math.min(state.page, last) };
  const starts = await load("starts-" + task.number);
  const rows = all.slice((at.page - 1) * PAGE, at.page * PAGE).map((item) => row(index, starts, at, item));
  const total = all.reduce((sum, item) => sum + delta(index, at, item), 0);
  const size = all.length ? ", mean difference " + signed(total / all.length) : "";
  const saved = (end, type, write) => button(end.toUpperCase(), () => save("items." + end, type, write(rowsOf(index, at, all))));
  return [filters(at, index),
    el("p", { "aria-live": "polite" }, all.length + " of " + index.items.length + " items" + size + ". Chosen after looking: this is no test."),
    el("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Items" },
      el("table", {}, el("thead", {}, el("tr", {}, ...headings(index, task, at))), el("tbody", {}, ...rows))),
    pages(at, last),
    el("p", { class: "copy" }, "Save what is listed as", saved("jsonl", "application/json", jsonl), saved("csv", "text/csv", csv),
      button("Copy link", () => copy(location.href, "link")))];
}
