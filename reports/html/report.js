"use strict";
/* The sample browser. Its state is the address behind "#/": #/items?task=...&base=... and #/item?task=...&id=...
   The page is built with createElement and textContent alone; texts of models and users are never markup. */
(() => {
  const PAGE = 50, CHUNK = 64, KEPT = 60;
  const $ = (id) => document.getElementById(id);
  const host = $("browser");
  const blocks = new Map();
  let turn = 0;

  const theme = $("theme");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  window.addEventListener("beforeprint", () => { for (const d of document.querySelectorAll("details")) d.open = true; });
  if (!host || typeof DecompressionStream === "undefined") return;

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

  /* The JSON of a data block; null where the file has no such block. */
  async function unpack(id) {
    const block = $(id);
    if (!block) return null;
    const packed = Uint8Array.from(atob(block.textContent), (c) => c.charCodeAt(0));
    const raw = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"))).arrayBuffer();
    if (raw.byteLength !== Number(block.dataset.size)) throw new Error("it has another length than it should");
    return JSON.parse(new TextDecoder().decode(raw));
  }

  /* The unpacked block; the last KEPT blocks stay in memory. */
  function load(id) {
    if (!blocks.has(id) && blocks.size >= KEPT) blocks.delete(blocks.keys().next().value);
    if (!blocks.has(id)) blocks.set(id, unpack(id).catch((error) => ({ damaged: String(error.message || error) })));
    return blocks.get(id);
  }

  /* The tasks by name, each with its number and its arms grouped by method. */
  const tasks = new Map();
  for (const link of document.querySelectorAll("nav a[href^='#task-']")) {
    tasks.set(link.dataset.task, { name: link.textContent, number: Number(link.hash.slice(6)) - 1 });
  }

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

  /* The mean score of a method on an item over training seeds. */
  function mean(index, method, item) {
    const arms = index.methods.get(method) || [];
    return arms.reduce((sum, n) => sum + index.arms[n].scores[item], 0) / arms.length;
  }

  const anyArm = (index, state, test) =>
    [state.base, state.method].some((m) => (index.methods.get(m) || []).some((n) => test(index.arms[n])));
  const SHOWN = {
    any: ["all items", () => true],
    improved: ["improved", (x, s, i) => mean(x, s.method, i) > mean(x, s.base, i)],
    regressed: ["regressed", (x, s, i) => mean(x, s.method, i) < mean(x, s.base, i)],
    equal: ["equal", (x, s, i) => mean(x, s.method, i) === mean(x, s.base, i)],
    seeds: ["training seeds disagree", (x, s, i) =>
      new Set((x.methods.get(s.method) || []).map((n) => x.arms[n].scores[i])).size > 1],
    cut: ["cut at the token limit", (x, s, i) => anyArm(x, s, (arm) => arm.cut.has(i))],
    none: ["no answer found", (x, s, i) => anyArm(x, s, (arm) => arm.none.has(i))],
    failed: ["failed", (x, s, i) => anyArm(x, s, (arm) => Object.hasOwn(arm.failed, String(i)))],
  };
  const length = (x, s, i) => Math.max(...(x.methods.get(s.method) || []).map((n) => x.arms[n].tokens[i]));
  const SORTED = {
    item: ["order of the task", null],
    worst: ["largest loss first", (x, s) => (a, b) => delta(x, s, a) - delta(x, s, b)],
    best: ["largest gain first", (x, s) => (a, b) => delta(x, s, b) - delta(x, s, a)],
    user: ["user", (x) => (a, b) => (x.users && x.users[a] !== x.users[b] ? (x.users[a] < x.users[b] ? -1 : 1) : a - b)],
    length: ["longest response first", (x, s) => (a, b) => length(x, s, b) - length(x, s, a)],
  };
  const delta = (x, s, i) => mean(x, s.method, i) - mean(x, s.base, i);

  function chosen(index, state) {
    const found = [];
    for (let i = 0; i < index.items.length; i += 1) {
      const user = !state.user || (index.users && index.users[i] === state.user);
      const part = !state.part || (index.methods.get(state.method) || []).some((n) => {
        const values = Object.hasOwn(index.arms[n].parts, state.part) ? index.arms[n].parts[state.part] : [];
        return values[i] !== null && values[i] !== undefined && values[i] < 1;
      });
      if (user && part && SHOWN[state.show][1](index, state, i)) found.push(i);
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
    if (texts && !texts.damaged) own.push(texts.prompt || "", texts.profile || "", ...texts.texts);
    return own.join("\n").toLowerCase();
  }

  /* ---- numbers and texts ---- */
  const score = (value) => value.toFixed(3).replace(/^0\./, ".");
  const signed = (value) => (value < 0 ? "-" : "+") + score(Math.abs(value));
  const bar = (value) => "\u25AE".repeat(Math.round(value * 5)) + "\u25AF".repeat(5 - Math.round(value * 5));
  const ODD = /[\u0000-\u0008\u000B-\u001F\u007F-\u009F\u00AD\u200B-\u200F\u2028-\u202E\u2060-\u2069\uFEFF]/g;

  /* A text as it is, control and invisible characters as marks. */
  function shown(text) {
    const pre = el("pre", { class: "text", dir: "auto" });
    let at = 0;
    for (const found of text.matchAll(ODD)) {
      const code = found[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
      pre.append(text.slice(at, found.index), el("span", { class: "odd" }, "U+" + code));
      at = found.index + 1;
    }
    pre.append(text.slice(at));
    return pre;
  }

  /* ---- the difference of two texts by words ---- */
  const MOST_WORDS = 1500;

  /* [sign, words] parts: " " is in both texts, "-" in the first alone, "+" in the second alone. */
  function compare(first, second) {
    const by = Math.max(first.length, second.length) > MOST_WORDS * 6 ? /(?<=\n)/ : /(?<=\s)(?=\S)/;
    const a = first.split(by), b = second.split(by);
    let start = 0, end = 0;
    while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
    while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
    const x = a.slice(start, a.length - end), y = b.slice(start, b.length - end);
    const middle = x.length > MOST_WORDS || y.length > MOST_WORDS ? [["-", x.join("")], ["+", y.join("")]] : common(x, y);
    return [[" ", a.slice(0, start).join("")], ...middle, [" ", a.slice(a.length - end).join("")]].filter(([, text]) => text);
  }

  /* The parts by a longest common subsequence of words. */
  function common(x, y) {
    const wide = y.length + 1, best = new Uint16Array((x.length + 1) * wide);
    for (let i = x.length - 1; i >= 0; i -= 1) {
      for (let j = y.length - 1; j >= 0; j -= 1) {
        best[i * wide + j] = x[i] === y[j] ? best[(i + 1) * wide + j + 1] + 1 : Math.max(best[(i + 1) * wide + j], best[i * wide + j + 1]);
      }
    }
    const parts = [];
    const add = (sign, word) => { const last = parts.at(-1); if (last && last[0] === sign) last[1] += word; else parts.push([sign, word]); };
    let i = 0, j = 0;
    while (i < x.length || j < y.length) {
      if (i < x.length && j < y.length && x[i] === y[j]) { add(" ", x[i]); i += 1; j += 1; }
      else if (j >= y.length || (i < x.length && best[(i + 1) * wide + j] >= best[i * wide + j + 1])) { add("-", x[i]); i += 1; }
      else { add("+", y[j]); j += 1; }
    }
    return parts;
  }

  function byWords(texts, index, state) {
    const own = (method) => (index.methods.get(method) || []).map((n) => texts.arms[n]).find(Boolean);
    if (!texts || !texts.arms || state.base === state.method) return null;
    const a = own(state.base), b = own(state.method);
    if (!a || !b) return null;
    const pre = el("pre", { class: "text", dir: "auto" });
    for (const [sign, text] of compare(texts.texts[a.text], texts.texts[b.text])) {
      const inner = [...shown(text).childNodes];
      pre.append(...(sign === " " ? inner : [el(sign === "-" ? "del" : "ins", {}, ...inner)]));
    }
    return el("details", { id: "difference" }, el("summary", {}, "Difference by words: struck out in " + state.base + " alone, underlined in " + state.method + " alone (first training seed)"), pre);
  }

  /* ---- addresses ---- */
  const route = (page, state, more) => {
    const all = Object.entries({ ...state, ...more }).filter(([, value]) => value !== "" && value !== null);
    return "#/" + page + "?" + new URLSearchParams(all);
  };

  function read(parameters, task, index) {
    const methods = [...index.methods.keys()];
    const pick = (name, known, other) => (known.includes(parameters.get(name)) ? parameters.get(name) : other);
    return {
      task: task.key,
      base: pick("base", methods, methods[0]),
      method: pick("method", methods, methods[methods.length - 1]),
      show: pick("show", Object.keys(SHOWN), "any"),
      sort: pick("sort", Object.keys(SORTED), "item"),
      user: parameters.get("user") || "",
      part: parameters.get("part") || "",
      q: parameters.get("q") || "",
      page: Math.max(1, Number.parseInt(parameters.get("page") || "1", 10) || 1),
    };
  }

  /* ---- the table of items ---- */
  function select(label, value, options, change) {
    const box = el("select", { onchange: (event) => change(event.target.value) },
      ...options.map(([key, text]) => el("option", { value: key, selected: key === value }, text)));
    return el("label", {}, label, box);
  }

  function filters(state, index) {
    const go = (more) => { location.hash = route("items", state, { page: 1, ...more }); };
    const methods = [...index.methods.keys()].map((m) => [m, m]);
    const parts = [...new Set(index.arms.flatMap((arm) => Object.keys(arm.parts)))];
    const search = el("input", { type: "search", value: state.q, id: "search", onchange: (event) => go({ q: event.target.value }) });
    return el("form", { class: "bar", onsubmit: (event) => { event.preventDefault(); go({ q: search.value }); } },
      select("Task", state.task, [...tasks].map(([key, task]) => [key, task.name]),
        (task) => { location.hash = "#/items?" + new URLSearchParams({ task }); }),
      select("Base", state.base, methods, (base) => go({ base })),
      select("Method", state.method, methods, (method) => go({ method })),
      select("Show", state.show, Object.entries(SHOWN).map(([key, [text]]) => [key, text]), (show) => go({ show })),
      parts.length ? select("Part below 1", state.part, [["", "any"], ...parts.map((p) => [p, p])], (part) => go({ part })) : null,
      index.users ? select("User", state.user, [["", "all"], ...[...new Set(index.users)].map((u) => [u, u])], (user) => go({ user })) : null,
      select("Sort", state.sort, Object.entries(SORTED).map(([key, [text]]) => [key, text]), (sort) => go({ sort })),
      el("label", {}, "Search in ids and texts", search),
      el("button", { type: "submit" }, "Search"));
  }

  function mark(value) {
    if (value === 0) return el("span", {}, "0");
    return el("span", { class: value > 0 ? "up" : "down" }, (value > 0 ? "\u25B2 " : "\u25BC ") + signed(value));
  }

  async function row(index, task, state, item) {
    const texts = await textsOf(task, item);
    const start = texts && texts.prompt ? texts.prompt.slice(0, 100) + (texts.prompt.length > 100 ? "\u2026" : "") : "";
    const a = mean(index, state.base, item), b = mean(index, state.method, item);
    return el("tr", {},
      el("th", { scope: "row" }, el("a", { class: "item", href: route("item", state, { id: index.items[item] }) }, index.items[item])),
      index.users ? el("td", {}, index.users[item]) : null,
      el("td", { class: "snippet", dir: "auto" }, start),
      el("td", {}, bar(a) + " " + score(a)), el("td", {}, bar(b) + " " + score(b)),
      el("td", {}, mark(b - a)));
  }

  /* The items that fit, sorted. Texts are searched in the order of the task, so that each block is unpacked once. */
  async function found(index, task, state) {
    const mine = turn, words = state.q.toLowerCase();
    let items = chosen(index, state);
    if (words) {
      const hits = [];
      for (const item of items) {
        if (mine !== turn) return [];
        if ((await searched(index, task, item)).includes(words)) hits.push(item);
      }
      items = hits;
    }
    const order = SORTED[state.sort][1];
    return order ? items.sort(order(index, state)) : items;
  }

  function pages(state, last) {
    const link = (text, page) => page < 1 || page > last ? el("span", {}, text) : el("a", { href: route("items", state, { page }) }, text);
    return el("p", {}, link("Previous page", state.page - 1), " \u00B7 page " + state.page + " of " + last + " \u00B7 ", link("Next page", state.page + 1));
  }

  async function items(index, task, state) {
    const all = await found(index, task, state);
    const last = Math.max(1, Math.ceil(all.length / PAGE));
    const at = { ...state, page: Math.min(state.page, last) };
    const rows = await Promise.all(all.slice((at.page - 1) * PAGE, at.page * PAGE).map((item) => row(index, task, at, item)));
    const total = all.reduce((sum, item) => sum + delta(index, at, item), 0);
    const size = all.length ? ", mean difference " + signed(total / all.length) : "";
    const head = ["item", ...(index.users ? ["user"] : []), "prompt", at.base, at.method, "difference"];
    const heading = (name) => el("th", { scope: "col", class: name === "prompt" ? "snippet" : null }, name);
    return [filters(at, index),
      el("p", { "aria-live": "polite" }, all.length + " of " + index.items.length + " items" + size + ". Chosen after looking: this is no test."),
      el("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Items" },
        el("table", {}, el("thead", {}, el("tr", {}, ...head.map(heading))), el("tbody", {}, ...rows))),
      pages(at, last)];
  }

  /* ---- one item ---- */
  function quote(title, text) {
    return text ? [el("h4", {}, title), shown(text)] : [];
  }

  function asked(texts) {
    if (!texts) return [el("p", { class: "warning" }, "The texts of this item are not in this file.")];
    if (texts.damaged) return [el("p", { class: "warning" }, "The texts of this item cannot be read: " + texts.damaged + ".")];
    if (texts.prompt === null) return [el("p", { class: "warning" }, "The prompt is left out: see the notes at the top.")];
    const options = (texts.options || []).map((option, n) => String.fromCharCode(65 + n) + ". " + option).join("\n");
    return [...quote("System", texts.system), ...quote("Profile of the user", texts.profile),
      ...demonstrations(texts.earlier || []),
      ...quote("Prompt", texts.prompt), ...quote("Options", options), ...quote("Beginning of the response", texts.prefix),
      ...quote("Target", texts.target), ...quote("Rubric", texts.rubric)];
  }

  function demonstrations(earlier) {
    if (!earlier.length) return [];
    const each = earlier.flatMap(([prompt, response], n) => [...quote("Request " + (n + 1), prompt), ...quote("Response " + (n + 1), response)]);
    return [el("details", {}, el("summary", {}, "Demonstrations (" + earlier.length + ")"), ...each)];
  }

  function facts(arm, item, own) {
    const said = ["score " + score(arm.scores[item]), arm.tokens[item] + " tokens"];
    for (const [name, values] of Object.entries(arm.parts)) {
      if (values[item] !== null) said.push(name + " " + score(values[item]));
    }
    if (arm.cut.has(item)) said.push("cut at the token limit");
    if (arm.none.has(item)) said.push("no answer found");
    if (Object.hasOwn(arm.failed, String(item))) said.push("failed: " + arm.failed[String(item)]);
    if (own && own.thoughts) said.push(own.thoughts === "cut" ? "ends inside its thoughts" : "thoughts left out");
    if (own && own.finish !== "stop") said.push("finish reason " + own.finish);
    if (own && own.options) said.push("log-probabilities of the options " + own.options.join(", "));
    return said.join(", ");
  }

  function readAs(own) {
    if (!own || !own.way) return null;
    const value = own.answer === null ? "No answer was read" : "Read as " + own.answer;
    return el("p", { class: "legend" }, value + " (" + own.way + ": " + own.rule + ").");
  }

  function column(index, texts, method, item) {
    const arms = index.methods.get(method) || [];
    const known = texts && !texts.damaged && texts.arms;
    const parts = arms.map((n) => {
      const arm = index.arms[n], own = known ? texts.arms[n] : null;
      const seed = arm.seed === null ? null : el("h4", {}, "Training seed " + arm.seed);
      return el("div", {}, seed || "", el("p", {}, facts(arm, item, own)),
        own ? shown(texts.texts[own.text]) : el("p", { class: "legend" }, "The response is not in this file."), readAs(own));
    });
    return el("section", { "aria-label": method }, el("h3", {}, method), ...parts);
  }

  async function oneItem(index, task, state, id) {
    const back = el("a", { href: route("items", state), id: "back" }, "Back to the items");
    const item = index.items.indexOf(id);
    if (item < 0) return [el("p", { class: "warning" }, "There is no item " + id + " in this task."), el("p", {}, back)];
    const all = await found(index, task, state), at = all.indexOf(item);
    const to = (text, key, n) => n < 0 || n >= all.length || at < 0 ? el("span", {}, text)
      : el("a", { id: key, href: route("item", state, { id: index.items[all[n]] }) }, text);
    const texts = await textsOf(task, item);
    const others = [...index.methods.keys()].filter((m) => m !== state.base && m !== state.method);
    const difference = delta(index, state, item);
    return [el("p", {}, back, " \u00B7 ", to("Previous item", "previous", at - 1), " \u00B7 ", to("Next item", "next", at + 1),
      at < 0 ? " \u00B7 not among the filtered items" : " \u00B7 " + (at + 1) + " of " + all.length),
      el("h3", { id: "item-title", tabindex: "-1" }, id + (index.users ? ", user " + index.users[item] : "")),
      ...asked(texts),
      el("p", {}, state.method + " minus " + state.base + ": ", mark(difference)),
      el("div", { class: "arms" }, column(index, texts, state.base, item),
        state.method === state.base ? null : column(index, texts, state.method, item)),
      byWords(texts, index, state),
      others.length ? el("details", {}, el("summary", {}, "The other arms (" + others.length + ")"),
        el("div", { class: "arms" }, ...others.map((m) => column(index, texts, m, item)))) : null].filter(Boolean);
  }

  /* ---- the page that the address names ---- */
  async function draw(focus) {
    const [page, query] = location.hash.startsWith("#/") ? location.hash.slice(2).split(/\?(.*)/s) : ["items", ""];
    const parameters = new URLSearchParams(query || ""), mine = (turn += 1);
    const key = parameters.has("task") ? parameters.get("task") : tasks.keys().next().value;
    const task = tasks.get(key);
    let children;
    if (!tasks.size) children = [el("p", {}, "This report has no tasks.")];
    else if (!task) children = [el("p", { class: "warning" }, "There is no task " + key + ". There are: " + [...tasks.keys()].join(", ") + ".")];
    else {
      const index = await indexOf(task);
      if (index.damaged) children = [el("p", { class: "warning" }, "The scores of this task cannot be read: " + index.damaged + ".")];
      else {
        const state = read(parameters, { ...task, key }, index);
        if (state.q && page !== "item") host.replaceChildren(el("p", { role: "status" }, "Searching the texts \u2026"));
        children = page === "item" ? await oneItem(index, task, state, parameters.get("id") || "") : await items(index, task, state);
      }
    }
    if (mine !== turn) return;
    host.replaceChildren(...children);
    if (focus) {
      $("samples").scrollIntoView();
      ($("item-title") || $("samples-title")).focus({ preventScroll: true });
    }
  }

  window.addEventListener("hashchange", () => { if (location.hash.startsWith("#/")) draw(true); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (!host.contains(event.target) && event.target !== $("samples-title")) return;
    const goal = { n: "next", p: "previous", Escape: "back", "/": "search", d: "difference" }[event.key];
    const target = goal && $(goal);
    if (!target) return;
    event.preventDefault();
    if (goal === "search") target.focus();
    else if (goal === "difference") target.open = !target.open;
    else location.hash = target.hash;
  });
  draw(location.hash.startsWith("#/"));
})();
