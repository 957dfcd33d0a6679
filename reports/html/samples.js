/* The sample browser: its state is the address behind "#/", #/items?task=...&base=... and #/item?task=...&id=... */
function browseSamples(host) {
  async function children(page, parameters) {
    const key = parameters.has("task") ? parameters.get("task") : tasks.keys().next().value;
    const task = tasks.get(key);
    if (!tasks.size) return [el("p", {}, "This report has no tasks.")];
    if (!task) return [el("p", { class: "warning" }, "There is no task " + key + ". There are: " + [...tasks.keys()].join(", ") + ".")];
    const index = await indexOf(task);
    if (index.damaged) return [el("p", { class: "warning" }, "The scores of this task cannot be read: " + index.damaged + ".")];
    const state = read(parameters, key, index);
    if (page === "item") return oneItem(index, task, state, parameters.get("id") || "");
    if (state.q && hasTexts(task)) {
      host.replaceChildren(el("p", { role: "status", id: "progress" }, "Searching the texts \u2026"),
        el("p", {}, el("a", { href: route("items", state, { q: "" }) }, "Stop")));
    }
    return itemList(index, task, state);
  }

  /* The page that the address names. The focus stays on a filter that was used; else it goes to the heading. */
  async function draw(focus) {
    const [page, query] = location.hash.startsWith("#/") ? location.hash.slice(2).split(/\?(.*)/s) : ["items", ""];
    const mine = (turn += 1), held = document.activeElement.id;
    const made = await children(page, new URLSearchParams(query || ""));
    if (mine !== turn) return;
    host.replaceChildren(...made);
    if (!focus) return;
    const filter = held.startsWith("f-") && $(held);
    if (!filter) $("samples").scrollIntoView();
    (filter || $("item-title") || $("samples-title")).focus({ preventScroll: true });
  }

  /* Rows are left with j and k; every other key has a link or a button. */
  function move(step) {
    const links = [...host.querySelectorAll("a.item")];
    const to = links[links.indexOf(document.activeElement) + step];
    if (to) to.focus();
    return Boolean(to);
  }

  const KEYS = { n: "next", p: "previous", Escape: "back", "/": "f-search", d: "difference", "?": "keys" };
  function act(key) {
    if (key === "j" || key === "k") return move(key === "j" ? 1 : -1);
    const target = KEYS[key] && $(KEYS[key]);
    if (!target) return false;
    if (target.tagName === "DETAILS") target.open = !target.open;
    else if (target.tagName === "A") location.hash = target.hash;
    else target.focus();
    return true;
  }

  window.addEventListener("hashchange", () => { if (location.hash.startsWith("#/")) draw(true); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (!$("samples").contains(event.target)) return;
    if (act(event.key)) event.preventDefault();
  });
  $("keys").hidden = false;
  draw(location.hash.startsWith("#/"));
}

if ($("browser") && typeof DecompressionStream !== "undefined") browseSamples($("browser"));
