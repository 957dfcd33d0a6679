/* The screen of one item: what was asked, the responses of two arms with scores and verdicts, and their difference. */
const ODD = /[\u0000-\u0008\u000B-\u001F\u007F-\u009F\u00AD\u200B-\u200F\u2028-\u202E\u2060-\u2069\uFEFF]/g;
const MOST_WORDS = 1500;

/* A text as it is, control and invisible characters as marks. */
function shown(text) {
  const pre = el("pre", { class: "text", dir: "auto" });
  let at = 0;
  for (const odd of text.matchAll(ODD)) {
    const code = odd[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    pre.append(text.slice(at, odd.index), el("span", { class: "odd" }, "U+" + code));
    at = odd.index + 1;
  }
  pre.append(text.slice(at));
  return pre;
}

/* ---- the difference of two texts by words ---- */

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

/* ---- what was asked ---- */
function quote(title, text, name = title) {
  return text ? [el("div", { class: "quoted" }, el("h4", {}, title), copyButton(name, text)), shown(text)] : [];
}

const copyButton = (title, text) => button("Copy", () => copy(text, title), { class: "small", "aria-label": "Copy: " + title });

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

/* ---- the response of an arm ---- */
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

/* The verdicts on a response, each with the words of the judge. */
function verdicts(own, judge, reference) {
  return ((own && own.verdicts) || []).flatMap((verdict) => {
    const title = said(verdict, reference);
    return verdict.text ? quote(title + " (" + judge + ")", verdict.text) : [el("p", { class: "legend" }, title + ".")];
  });
}

function said(verdict, reference) {
  const { asked: how, value } = verdict;
  const winner = value === 1 ? "this response is better" : value === 0 ? reference + " is better" : "a tie";
  if (how === "rule") return "No judge was asked, because the responses are equal or one is empty: " + winner;
  if (value === null) return "Verdict, " + PLACES[how] + ": not in the store, or without a verdict";
  return how === "alone" ? "Rating: " + (1 + 4 * value) + " of 5" : "Verdict, " + PLACES[how] + ": " + winner;
}

const PLACES = { first: "this response shown first", second: "this response shown second", alone: "this response alone" };

function column(index, texts, method, item) {
  const arms = index.methods.get(method) || [];
  const known = texts && !texts.damaged && texts.arms;
  const parts = arms.map((n) => {
    const arm = index.arms[n], own = known ? texts.arms[n] : null;
    const seed = arm.seed === null ? null : "Training seed " + arm.seed;
    const text = own ? texts.texts[own.text] : "";
    const name = "response of " + method + (seed ? ", " + seed : "");
    return el("div", {}, seed ? el("h4", {}, seed) : "",
      el("div", { class: "quoted" }, el("p", {}, facts(arm, item, own)), own ? copyButton(name, text) : ""),
      own ? shown(text) : el("p", { class: "legend" }, "The response is not in this file."), readAs(own),
      ...verdicts(own, index.judge, index.reference));
  });
  return el("section", { "aria-label": method }, el("h3", {}, method), ...parts);
}

/* ---- the screen ---- */
async function oneItem(index, task, state, id) {
  const back = el("a", { href: route("items", state), id: "back" }, "Back to the items");
  const item = index.items.indexOf(id);
  if (item < 0) return [el("p", { class: "warning" }, "There is no item " + id + " in this task."), el("p", {}, back)];
  const all = await found(index, task, state), at = all.indexOf(item);
  const to = (text, key, n) => n < 0 || n >= all.length || at < 0 ? el("span", {}, text)
    : el("a", { id: key, href: route("item", state, { id: index.items[all[n]] }) }, text);
  const texts = await textsOf(task, item);
  const others = [...index.methods.keys()].filter((m) => m !== state.base && m !== state.method);
  const user = index.users ? index.users[item] : null;
  const whole = () => copy(JSON.stringify({ ...rowsOf(index, state, [item])[0], texts }, null, 1), "item as JSON");
  return [el("p", {}, back, " \u00B7 ", to("Previous item", "previous", at - 1), " \u00B7 ", to("Next item", "next", at + 1),
    at < 0 ? " \u00B7 not among the filtered items" : " \u00B7 " + (at + 1) + " of " + all.length),
    el("h3", { id: "item-title", tabindex: "-1" }, id + (user === null ? "" : ", user " + user)),
    el("p", { class: "copy" }, user === null ? "" : el("a", { href: route("items", { task: state.task, base: state.base, method: state.method }, { user }) }, "Items of this user"),
      button("Copy link", () => copy(location.href, "link")), button("Copy item as JSON", whole)),
    ...asked(texts),
    el("p", {}, state.method + " minus " + state.base + ": ", mark(delta(index, state, item))),
    el("div", { class: "arms" }, column(index, texts, state.base, item),
      state.method === state.base ? null : column(index, texts, state.method, item)),
    byWords(texts, index, state),
    others.length ? el("details", {}, el("summary", {}, "The other arms (" + others.length + ")"),
      el("div", { class: "arms" }, ...others.map((m) => column(index, texts, m, item)))) : null].filter(Boolean);
}
