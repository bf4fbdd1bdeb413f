/** The page: what is asked stands in its link, each answer is asked anew, and nothing is shown that was not told just now. */
const PATIENCE_MS = 20000, TITLE = document.title;
const NEEDED = { person: ["id", "type"], resource: ["type", "id", "action"], why: ["subject", "action", "type", "id"] };
const KEPT = { person: ["show", "search", "page"], resource: ["search", "page"], why: [] };
let token = "", pending = null;

/** What the link asks. */
function question() {
  const given = Object.fromEntries(new URLSearchParams(location.search));
  return { type: "model", action: "execute", ...given, ask: Object.hasOwn(NEEDED, given.ask) ? given.ask : "person" };
}

/** Goes to another question, by a link that can be kept and sent. */
function go(change) {
  const asked = { ...question(), ...change };
  const known = ["ask", ...NEEDED[asked.ask], ...KEPT[asked.ask]].filter(name => asked[name]);
  const link = "?" + new URLSearchParams(known.map(name => [name, asked[name]]));
  if (link !== location.search) history.pushState(null, "", link);
  show();
}

/** Asks the listener; what it says instead of an answer is thrown as words. */
async function ask(path, params, signal) {
  const given = Object.entries(params).filter(([, value]) => value);
  // By this the sidecar knows this page from whoever was only given an address to fetch.
  const headers = { "neverstale-page": "access", ...(token && { authorization: "Bearer " + token }) };
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const answer = await fetch(`access/${path}?${new URLSearchParams(given)}`, { cache: "no-store", headers, signal: signal ? AbortSignal.any([signal, patience]) : patience });
  const told = await answer.json();
  if (answer.ok) return { told, date: new Date(answer.headers.get("date") || Date.now()) };
  if (answer.status === 401) at("entry").hidden = false;
  throw Object.assign(new Error(told.detail || told.title), { status: answer.status });
}

function clear() {
  at("answer").replaceChildren();
  at("answer").removeAttribute("aria-busy");
  set("asof", "");
}

function say(colour, verdict, because) {
  at("verdict").hidden = !verdict;
  at("verdict").className = "verdict " + colour;
  set("verdict", verdict);
  at("because").replaceChildren(...sentence(because).childNodes);
}

function refuse(error) {
  clear();
  if (error.status === 401) return say("warm", "A token is needed", "");
  const isGone = error.name === "TypeError" || error.name === "TimeoutError";
  const because = isGone ? "The sidecar does not answer." : error.message[0].toUpperCase() + error.message.slice(1) + (error.message.endsWith(".") ? "" : ".");
  const final = { 400: "This is no question", 403: "Not from here", 404: "Not in this application" }[error.status];
  if (final) return say("warm", final, because);
  say("bad", "This can't be known now", because + " Nothing is shown rather than what was so before.");
}

/** Shows what the link asks. */
async function show() {
  const asked = question(), { ask: name } = asked;
  document.title = TITLE;
  for (const other of Object.keys(NEEDED)) {
    const tab = at("ask-" + other);
    other === name ? tab.setAttribute("aria-current", "page") : tab.removeAttribute("aria-current");
    // Another question about the same.
    const same = { ask: other, type: asked.type };
    const who = name === "person" ? asked.id : asked.subject, what = name === "person" ? "" : asked.id;
    if (who && other !== "resource") same[other === "person" ? "id" : "subject"] = who;
    if (what && other !== "person") same.id = what;
    if (other !== "person") same.action = asked.action;
    tab.href = "?" + new URLSearchParams(same);
  }
  for (const field of document.querySelectorAll(".field")) field.hidden = !field.dataset.for.split(" ").includes(name);
  at("type").value = asked.type;
  at("action").value = asked.action;
  const [who, what] = name === "person" ? [asked.id, ""] : [asked.subject, asked.id];
  for (const [field, id] of [["who", who], ["what", what]]) if (at(field).dataset.id !== (id || "")) { at(field).value = at(field).dataset.id = id || "" }
  if (pending) pending.abort();
  pending = null;
  const isWhole = NEEDED[name].every(one => asked[one]);
  at("refresh").hidden = !isWhole;
  if (!isWhole) {
    clear();
    return say("", "", { person: "Pick somebody, to see what they may do.", resource: "Pick something, to see who may use it.", why: "Pick somebody and something, to see why." }[name]);
  }
  const mine = pending = new AbortController();
  // Another question is not answered by what stands there.
  const about = `${name} ${asked.id} ${asked.subject} ${asked.type} ${asked.action}`;
  if (at("answer").dataset.of !== about) { clear(); say("", "", "Asking the database …") }
  at("answer").dataset.of = about;
  at("answer").setAttribute("aria-busy", "true");
  const { ask: _, ...params } = asked;
  try {
    const known = [...NEEDED[name], ...KEPT[name]];
    const { told, date } = await ask(name, Object.fromEntries(Object.entries(params).filter(([one]) => known.includes(one))), mine.signal);
    if (mine !== pending) return;
    lay(LAYOUTS[name](told, asked, go), told, date);
  } catch (error) {
    if (mine === pending) refuse(error);
  }
}

function lay({ colour, verdict, because, cards }, told, date) {
  const held = document.activeElement?.id, caret = held === "filter" ? document.activeElement.selectionStart : 0, written = held === "filter" ? document.activeElement.value : "";
  say(colour, verdict, because);
  at("answer").removeAttribute("aria-busy");
  at("answer").replaceChildren(...cards.filter(Boolean));
  // Whoever is writing into a list's filter goes on writing there.
  if (held === "filter" || held === "all") at(held)?.focus();
  if (held === "filter" && at("filter")) { at("filter").value = written; at("filter").setSelectionRange(caret, caret) }
  const who = told.person, what = told.resource;
  if (who) at("who").value = called(who);
  if (what) at("what").value = what.name || what.id;
  document.title = (verdict || (who ? called(who) : "")) + " – " + TITLE;
  set("asof", `as of ${date.toLocaleTimeString()}, position ${number(parseInt(told.position.split("-").pop(), 16))}`);
  at("asof").title = told.position;
}

picker("who", async search => {
  try {
    const { told } = await ask("people", { search });
    const found = told.people.map(one => ({ id: one.id, label: called(one), detail: [one.email, one.role, one.email ? "" : one.id].filter(Boolean).join(" · ") }));
    return { found, note: told.next ? `and more of ${number(told.total)} people: write on` : found.length ? "" : "nobody like that" };
  } catch (error) {
    return { found: [], note: error.message };
  }
}, one => go(question().ask === "person" ? { id: one.id, page: "", search: "" } : { subject: one.id }));

picker("what", async search => {
  try {
    const { told } = await ask("resources", { type: at("type").value, search });
    const found = told.resources.map(one => ({ id: one.id, label: one.name || one.id, detail: [one.kind, one.name ? one.id : ""].filter(Boolean).join(" · ") }));
    return { found, note: told.pages > 1 ? `and more of ${number(told.matching)}: write on` : found.length ? "" : "nothing like that" };
  } catch (error) {
    return { found: [], note: error.message };
  }
}, one => go({ id: one.id, page: "", search: "" }));

at("type").addEventListener("change", () => go(question().ask === "person" ? { type: at("type").value, page: "", search: "" } : { type: at("type").value, id: "", page: "", search: "" }));
at("action").addEventListener("change", () => go({ action: at("action").value, page: "" }));
at("refresh").addEventListener("click", show);
at("question").addEventListener("submit", event => event.preventDefault());
at("entry").addEventListener("submit", event => {
  event.preventDefault();
  token = at("token").value.trim();
  at("token").value = "";
  at("entry").hidden = true;
  show();
});
document.addEventListener("click", event => {
  const link = event.target.closest?.("a[href^='?']");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  history.pushState(null, "", link.getAttribute("href"));
  show();
  scrollTo(0, 0);
});
addEventListener("popstate", show);
// Whoever comes back after a while is shown how it is now.
document.addEventListener("visibilitychange", () => { if (!document.hidden) show() });
addEventListener("pageshow", event => { if (event.persisted) show() });
show();
