// Asks /status every second and shows what it tells.
const PATIENCE_MS = 4000, REMEMBERED = 60, ROWS = 6;
const percent = part => (100 * part).toFixed(part > 0.995 && part < 1 ? 2 : 1) + " %";
const width = (id, part) => { at(id).style.width = 100 * Math.max(0, Math.min(1, part || 0)) + "%" };
const bytes = value => value < 1048576 ? (value / 1024).toFixed(0) + " KiB" : (value / 1048576).toFixed(1) + " MiB";
const micros = value => value < 1000 ? value + " µs" : (value / 1000).toFixed(1) + " ms";
const span = seconds => {
  const days = Math.floor(seconds / 86400), hours = Math.floor(seconds / 3600) % 24, minutes = Math.floor(seconds / 60) % 60;
  return days ? `${days} d ${hours} h` : hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
};
const ago = seconds => seconds < 1 ? "now" : span(seconds) + " ago";

/** The last status and when it came; the rates of the last minute; when each position was first seen here. */
let last = null, rates = [], longest = 1, seen = new Map();

function verdict(text, colour, because) {
  set("verdict", text);
  at("verdict").className = "verdict " + colour;
  set("because", because);
}

/** One sentence for whoever has one second. */
function judge(status) {
  if (status.audit.stale) return ["A stale answer was found", "bad", "The auditor has compared an answer with Postgres, and they differ. This must never be."];
  if (!status.ready) return ["Not ready", "bad", "The kubelet sends no traffic here until this is mended."];
  if (status.standing === "bypass") return ["Answering, not from memory", "warm", "Every read is asked of Postgres: right, and slow."];
  if (status.standing !== "serving") return ["Refusing reads", "bad", "What can't be promised is refused, never answered with an old value."];
  const compared = status.audit.compared ? ` ${number(status.audit.compared)} answers were compared with Postgres, none was old.` : "";
  if (status.faults.length) return ["Serving, with less", "warm", "Every answer is right; something around it needs a look." + compared];
  return ["Serving from memory", "good", "Every answer is as new as one from Postgres." + compared];
}

function showFaults(faults) {
  const told = JSON.stringify(faults);
  if (at("faults").dataset.told === told) return;
  at("faults").dataset.told = told;
  at("faults").replaceChildren(...faults.map(fault => {
    const item = element("li", "", fault.severity);
    item.append(element("strong", fault.what), element("p", fault.meaning), sentence(fault.next_step, "next"));
    if (fault.runbook) item.append(element("p", "docs/runbook/" + fault.runbook + ".md"));
    return item;
  }));
}

function showReads(status, now) {
  const reads = status.reads;
  if (last && now > last.now) {
    // Less than before means that it was restarted in between.
    const rate = Math.max(0, (reads.total - last.reads.total) * 1000 / (now - last.now));
    rates.push(rate);
    rates = rates.slice(-REMEMBERED);
    set("rate", number(Math.round(rate)));
    const since = name => Math.max(0, reads[name] - last.reads[name]);
    at("refused").className = since("unavailable") ? "bad" : "";
  }
  const share = count => reads.total ? count / reads.total : 0;
  const shown = count => reads.total ? percent(share(count)) : "–";
  for (const [bar, text, count] of [["l1bar", "l1ratio", reads.l1_hits], ["l2bar", "l2ratio", reads.l2_hits], ["fillbar", "fillratio", reads.fills]]) {
    width(bar, share(count));
    set(text, shown(count));
  }
  width("refusedbar", share(reads.unavailable));
  set("refused", number(reads.unavailable));
  const most = Math.max(1, ...rates), points = rates.map((rate, place) => `${60 - rates.length + 1 + place},${(19 - 18 * rate / most).toFixed(2)}`);
  if (points.length > 1) {
    const line = "M" + points.join("L");
    at("spark").querySelector(".over").setAttribute("d", line);
    at("spark").querySelector(".under").setAttribute("d", `${line}L60,20L${60 - rates.length + 1},20Z`);
  }
}

function showCoherence(status) {
  const feed = status.feed, lease = feed.lease_remaining_ms;
  longest = Math.max(longest, lease, status.installation.lease_ms);
  set("lease", lease ? number(lease) : "none");
  const idle = status.installation.lease_ms ? "lease now; the next read asks for one" : "lease: each read asks, and is as right";
  set("leaseword", lease ? "ms of lease left" + (status.lease_has_exceptions ? ", for all but some tags" : "") : idle);
  width("leasebar", lease / longest);
  set("position", number(feed.applied));
  set("lag", number(feed.lag_ms) + " ms");
  set("fence", feed.fence_round_trip_us ? micros(feed.fence_round_trip_us) : "–");
  set("relay", feed.relay ? "this sidecar" : "another sidecar");
}

function showParts(status) {
  const { l1, l2, audit, installation } = status;
  set("flavour", [installation.flavour, installation.app_schema].filter(Boolean).join(" in "));
  set("version", `v${status.version}, up for ${span(status.uptime_seconds)}`);
  set("views", status.views.length ? number(status.views.length) : "–");
  at("views").title = status.views.join("\n");
  set("entries", number(l1.entries));
  set("memory", bytes(l1.bytes) + " of " + bytes(l1.bytes_max));
  set("followers", number(status.event_subscribers));
  set("redis", l2 ? l2.target : "not set");
  set("connected", l2 ? (l2.connected ? "yes" : "no") : "–");
  at("connected").className = l2 && !l2.connected ? "warm" : "";
  set("breaker", l2 ? l2.breaker : "–");
  set("sealed", l2 ? (l2.sealed ? "yes" : "no") : "–");
  set("stale", number(audit.stale));
  at("stale").className = audit.stale ? "bad" : "good";
  set("compared", number(audit.compared));
  set("triggers", installation.suspended ? "suspended" : installation.intact ? "in place" : "not relied on");
  set("incarnation", status.incarnation ? status.incarnation.slice(0, 8) : "–");
}

function showChanges(changes, now) {
  const fresh = new Map();
  // What was there when the page was opened has no time of its own.
  for (const { position } of changes) fresh.set(position, seen.has(position) ? seen.get(position) : last ? now : null);
  seen = fresh;
  const rows = changes.slice(0, ROWS).map(change => {
    const row = element("tr"), tags = element("td"), came = seen.get(change.position);
    tags.append(...change.tags.map(tag => element("code", tag)));
    if (change.tags_more) tags.append(element("span", `and ${number(change.tags_more)} more`, "soft"));
    row.append(element("td", number(change.position)), tags, element("td", came === null ? "" : ago(Math.round((now - came) / 1000)), "when"));
    return row;
  });
  at("changes").replaceChildren(...(rows.length ? rows : [element("tr", "Nothing has been written since this sidecar began.", "soft")]));
}

function show(status) {
  const now = performance.now();
  verdict(...judge(status));
  document.title = (status.ready && !status.faults.length ? "" : "● ") + "Neverstale";
  showFaults(status.faults);
  showReads(status, now);
  showCoherence(status);
  showParts(status);
  showChanges(status.changes, now);
  last = { now, reads: status.reads };
}

async function ask() {
  try {
    const answer = await fetch("status", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    show(await answer.json());
  } catch {
    verdict("Out of reach", "bad", "The sidecar does not answer. What is shown below is how it was when it answered last.");
    document.title = "● Neverstale";
  }
  setTimeout(ask, document.hidden ? 5000 : 1000);
}
ask();
// Where the other page is switched off, nothing leads there.
fetch("access", { method: "HEAD", cache: "no-store" }).then(answer => { at("access").hidden = answer.status === 404 }, () => {});
