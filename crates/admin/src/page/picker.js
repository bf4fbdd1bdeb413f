/** A field in which one of many is picked: the server searches while somebody writes; arrows, Enter and Escape do what they do elsewhere. */
const PAUSE_MS = 180;
function picker(name, find, picked) {
  const field = at(name), list = at(name + "-list");
  let options = [], active = -1, timer = 0, turn = 0;
  const close = () => {
    turn += 1;
    clearTimeout(timer);
    list.hidden = true;
    list.replaceChildren();
    options = [];
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  };
  const point = place => {
    active = place;
    [...list.children].forEach((option, index) => option.setAttribute("aria-selected", String(index === place)));
    const option = list.children[place];
    if (!option) return field.removeAttribute("aria-activedescendant");
    field.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  };
  const pick = option => {
    close();
    field.value = option.label;
    picked(option);
  };
  const offer = (found, note) => {
    options = found;
    list.replaceChildren(...found.map((option, place) => {
      const made = element("li");
      made.id = `${name}-${place}`;
      made.setAttribute("role", "option");
      made.append(option.label, element("small", option.detail));
      made.addEventListener("mousedown", event => event.preventDefault());
      made.addEventListener("click", () => pick(option));
      made.addEventListener("mousemove", () => active !== place && point(place));
      return made;
    }));
    if (note) {
      const made = element("li", note, "none");
      made.setAttribute("role", "presentation");
      list.append(made);
    }
    list.hidden = false;
    field.setAttribute("aria-expanded", "true");
    point(found.length ? 0 : -1);
  };
  const search = async text => {
    const mine = turn += 1;
    const { found, note } = await find(text);
    if (mine !== turn || document.activeElement !== field) return;
    // What no row speaks of can be asked about too: models of a provider, pipelines, somebody who was deleted.
    const isThere = found.some(option => option.id === text);
    if (text && !isThere) found.push({ id: text, label: text, detail: "this very id" });
    offer(found, note);
  };
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => search(field.value.trim()), PAUSE_MS);
  });
  // Whoever comes to change what is there is offered everything.
  field.addEventListener("focus", () => { field.select(); search("") });
  field.addEventListener("blur", close);
  field.addEventListener("keydown", event => {
    const isOpen = !list.hidden;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!isOpen) return search("");
      const step = event.key === "ArrowDown" ? 1 : -1;
      point((active + step + options.length) % Math.max(1, options.length));
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (isOpen && options[active]) pick(options[active]);
      else if (field.value.trim()) pick({ id: field.value.trim(), label: field.value.trim() });
    } else if (event.key === "Escape" && isOpen) {
      event.preventDefault();
      close();
    }
  });
}
