"use strict";
// What all pages share. Texts are set as texts, so nothing that is told can become markup.
const at = id => document.getElementById(id);
const set = (id, text) => { const place = at(id); if (place.textContent !== text) place.textContent = text };
const number = value => Number(value).toLocaleString("en");
const element = (name, text, kind) => {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  if (kind) made.className = kind;
  return made;
};

/** A sentence in which what stands between backticks is a command. */
const sentence = (text, kind) => {
  const made = element("p", "", kind);
  made.append(...text.split("`").map((part, place) => place % 2 ? element("code", part) : part));
  return made;
};
