/** What is told, laid out. Everything of people and resources goes in as text. */
const ACTIONS = [["read", "sees", "see"], ["execute", "uses", "use"], ["write", "changes", "change"], ["read-valves", "values", "read the values of"]];
const MANY = { function: "functions", tool: "tools", model: "models", prompt: "prompts", knowledge: "knowledge", pipeline: "pipelines" };
const word = action => ACTIONS.find(([name]) => name === action)[2];
const part = (name, kind, ...children) => {
  const made = element(name, "", kind);
  made.append(...children.filter(child => child !== null && child !== undefined && child !== ""));
  return made;
};
const card = (kind, title, ...children) => part("section", kind, element("h2", title), ...children);
const link = (asked, ...children) => {
  const made = part("a", "", ...children);
  made.href = "?" + new URLSearchParams(asked);
  return made;
};
const called = one => one.name || one.id;
const whom = grant => grant.principal_type === "everyone" ? "everybody"
  : (grant.principal_type === "group" ? "group " : "") + (grant.name || grant.principal_id);
const way = names => names.join(" → ");

/** One word for what allowed it. */
function tier(decision) {
  if (!decision.allowed) return "no";
  if (decision.tier === "group") return "group " + decision.way.at(-1);
  if (decision.tier === "direct") return decision.grant.principal_type === "everyone" ? "everybody" : "own grant";
  return decision.tier.replace("-", " ");
}

function personCard(person, id, size) {
  if (!person) return card(size, "Who", part("p", "who", id, element("small", "nobody of this id is known")));
  const about = [person.email, person.id].filter(Boolean).join(" · ");
  const ways = person.groups.map(group => group.owned ? `${group.name} (owner)` : way(group.way.length ? group.way : [group.name]));
  // Who is told a whole way is told its beginning too.
  const groups = ways.filter(one => !ways.some(other => other.startsWith(one + " → "))).map(one => element("li", one));
  return card(size, "Who", part("div", "sides",
    part("div", "", part("p", "who", called(person), element("small", about)),
      part("ul", "tags", element("li", "role " + (person.role || "none")), person.super_admin ? element("li", "super admin") : null)),
    part("div", "", part("p", "hint", groups.length ? "In groups" : "In no group"), part("ul", "tags", ...groups))));
}

function resourceCard(resource, size) {
  const kind = [resource.kind, resource.type].filter(Boolean).join(" ");
  if (!resource.exists) {
    return card(size, "What", part("p", "who", resource.id, element("small", kind)),
      part("p", "hint", "Nothing is known of it: " + (resource.type === "model" ? "a model without a row is for admins." : "it does not exist, or was never granted.")));
  }
  const owner = resource.owner;
  const grants = resource.grants.map(grant => element("li", `${whom(grant)}: ${grant.permission === "read" ? "see and use" : "change"}`));
  const none = resource.open ? "No grants; its access was never set, so everybody may see and use it" : "No grants";
  if (resource.grants_more) grants.push(element("li", `and ${number(resource.grants_more)} more`));
  return card(size, "What", part("div", "sides",
    part("div", "", part("p", "who", resource.name || resource.id, element("small", `${kind} ${resource.id}`)),
      part("ul", "tags", element("li", owner ? "owner " + called(owner) : "no owner"), resource.active ? null : element("li", "switched off", "off"),
        resource.base ? element("li", "built on " + resource.base) : null)),
    part("div", "", part("p", "hint", grants.length ? "Granted to" : none), part("ul", "tags", ...grants))),
    resource.installed ? null : sentence("It has no grants of ours yet: `neverstale rbac install` gives functions those that their models imply.", "hint"));
}

function pager(told, size, go) {
  const from = (told.page - 1) * size, to = Math.min(told.matching, from + size);
  const turn = (text, page, isThere) => {
    const made = element("button", text);
    made.type = "button";
    made.disabled = !isThere;
    made.addEventListener("click", () => go({ page }));
    return made;
  };
  if (told.pages < 2) return null;
  return part("div", "pager", turn("Back", told.page - 1, told.page > 1), `${number(from + 1)}–${number(to)} of ${number(told.matching)}`, turn("On", told.page + 1, told.page < told.pages));
}

/** A field that narrows a list, kept in the link. */
function filter(label, asked, go) {
  const field = element("input"), made = part("label", "", element("span", label, "vh"), field);
  field.type = "search";
  field.id = "filter";
  field.placeholder = label;
  field.value = asked.search || "";
  let timer = 0;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => go({ search: field.value.trim(), page: "" }), PAUSE_MS);
  });
  return made;
}

const table = (kind, heads, rows) => part("table", kind, part("thead", "", part("tr", "", ...heads.map(head => element("th", head)))), part("tbody", "", ...rows));

const LAYOUTS = {
  person(told, asked, go) {
    const counts = ACTIONS.map(([action, , verb]) => `${verb} ${number(told.counts[action])}`).join(", ");
    const all = element("input");
    all.type = "checkbox";
    all.id = "all";
    all.checked = asked.show === "all";
    all.addEventListener("change", () => go({ show: all.checked ? "all" : "", page: "" }));
    const rows = told.rows.map(row => part("tr", "",
      part("td", "", link({ ask: "resource", type: asked.type, id: row.id, action: "execute" }, row.name || row.id), element("small", [row.kind, row.name ? row.id : ""].filter(Boolean).join(" · "))),
      ...ACTIONS.map(([action, head]) => {
        const decision = row.decisions[action], text = element("span", tier(decision), decision.allowed ? "good mark" : "no");
        const cell = part("td", "", link({ ask: "why", subject: asked.id, action, type: asked.type, id: row.id }, text));
        cell.dataset.label = head;
        cell.firstChild.title = `${called(told.person || { id: asked.id })} ${decision.because}`;
        return cell;
      })));
    const nothing = told.total ? "Nothing, as far as this list goes." : `There are no ${MANY[asked.type]}.`;
    return {
      colour: "", verdict: "",
      because: told.person ? `Of ${number(told.total)} ${MANY[asked.type]}, ${called(told.person)} may ${counts}.` : "",
      cards: [personCard(told.person, asked.id, "wide"), part("section", "wide",
        part("div", "tools", element("h2", MANY[asked.type]), filter("filter by name or id", asked, go), part("label", "", all, "also what they may not")),
        rows.length ? table("matrix", ["", ...ACTIONS.map(([, head]) => head)], rows) : part("p", "hint", nothing), pager(told, 50, go))],
    };
  },
  resource(told, asked, go) {
    const named = told.resource.name || told.resource.id, some = number(told.matching), isSearched = Boolean(asked.search);
    // Of a search it is not told how many there are altogether, only where it was cut off.
    const isPart = isSearched ? told.looked_at >= told.looked_at_max : told.looked_at < told.people_total;
    const rows = told.rows.map(({ person, decision }) => {
      const why = part("td", "", link({ ask: "why", subject: person.id, action: asked.action, type: asked.type, id: asked.id }, element("span", tier(decision), "good mark")));
      const because = part("td", "", decision.way && decision.way.length > 1 ? way(decision.way) : decision.because);
      why.dataset.label = "by";
      because.dataset.label = "because this person";
      return part("tr", "", part("td", "", link({ ask: "person", id: person.id, type: asked.type }, called(person)), element("small", [person.email, person.role].filter(Boolean).join(" · "))), why, because);
    });
    const verb = word(asked.action), those = asked.search ? ` of those like “${asked.search}”` : "";
    const people = (isPart && told.matching ? "At least " : "") + (told.matching === 1 ? "1 person" : told.matching ? `${some} people` : isPart ? `Nobody among the first ${number(told.looked_at)}` : "Nobody");
    const first = `These are among the first ${number(told.looked_at)} ` + (isSearched ? "people whom this search finds" : `of ${number(told.people_total)} people`);
    return {
      colour: told.matching ? "" : "warm", verdict: `${people}${those} may ${verb} ${named}`,
      because: isPart ? `${first}, by name; narrow the list to see others.` : `Of ${number(told.people_total)} people.`,
      cards: [resourceCard(told.resource, "wide"), part("section", "wide", part("div", "tools", element("h2", `who may ${verb} it`), filter("filter by name, e-mail or id", asked, go)),
        rows.length ? table("people", ["person", "by", "because this person"], rows) : part("p", "hint", "Nobody."), pager(told, 50, go))],
    };
  },
  why(told) {
    const { decision, resource, person } = told, name = person ? called(person) : told.subject, advice = [];
    if (told.advice.text) advice.push(part("p", "", told.advice.text));
    if (told.advice.command) {
      const copy = element("button", "Copy"), command = element("code", told.advice.command);
      copy.type = "button";
      command.id = "command";
      // Without TLS browsers give no clipboard, except to localhost: then it is selected for the reader to copy.
      copy.addEventListener("click", () => navigator.clipboard?.writeText(told.advice.command).then(() => { copy.textContent = "Copied" }) ?? getSelection().selectAllChildren(command));
      advice.push(part("div", "command", command, copy));
    }
    const also = ACTIONS.flatMap(([action, , verb]) => {
      const one = told.decisions[action];
      return [part("dt", one.allowed ? "good mark" : "", `${one.allowed ? "may" : "may not"} ${verb}${action === "read-valves" ? " it" : ""}`), element("dd", one.because)];
    });
    return {
      colour: decision.allowed ? "good" : "bad",
      verdict: `${name} may ${decision.allowed ? "" : "not "}${word(told.action)} ${resource.name || resource.id}`,
      because: `${name} ${decision.because}.` + (decision.way && decision.way.length > 1 ? ` (${way(decision.way)})` : ""),
      cards: [advice.length ? card("wide", "To have it otherwise", ...advice) : "", personCard(person, told.subject, "half"), resourceCard(resource, "half"), card("wide", "All four", part("dl", "also", ...also))],
    };
  },
};
