"use strict";
// Asks /control for what is new once a second and shows it. Everything shown came from outside, so it is only ever
// set as text, never as markup.

const PERIOD = 1000;
const LOG_ROWS = 100;
const MATCHES = 50;
const RECENT = 50;
const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

let lastSeq = 0;
let activity = "";
let shown = null;

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

async function get(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function refresh() {
  const summary = await get("/control/summary");
  const now = JSON.stringify(summary);
  if (now === activity) return;
  const wasReset = summary.requests.track + summary.requests.delete + summary.requests.export === 0;
  if (wasReset) clearLog();
  activity = now;
  showTotals(summary);
  await Promise.all([showRequests(), showMatches(), shown && showProfile(shown)]);
}

function showTotals(summary) {
  const revenue = Object.entries(summary.revenue).map(([currency, amount]) => `${group(amount)} ${currency}`);
  const { track, delete: deleted, export: exported } = summary.requests;
  const doubles = summary.duplicates.event_id + summary.duplicates.purchase_id;
  $("totals").replaceChildren(
    total("Profiles", number.format(summary.profiles)),
    total("Events", number.format(summary.events)),
    total("Purchases", number.format(summary.purchases)),
    total("Revenue", revenue.slice(0, 3).join(", ") || "0", false, "wide"),
    total("Track requests", number.format(track)),
    total("Deletes", number.format(deleted)),
    total("Exports", number.format(exported)),
    total("Rejected objects", number.format(summary.rejected), summary.rejected > 0),
    total("Duplicates", number.format(doubles), doubles > 0),
  );
  showDrops(summary.dropped);
}

function total(name, value, isAlarm, className) {
  const box = element("div", undefined, className);
  box.append(element("dt", name), element("dd", value, isAlarm ? "alarm" : ""));
  return box;
}

// Amounts are decimal text, exact; they are grouped as text so that no digit is lost in a float.
function group(amount) {
  const [whole, places] = amount.split(".");
  return `${whole.replace(/\B(?=(\d{3})+$)/g, ",")}.${places}`;
}

function showDrops(dropped) {
  const rules = Object.entries(dropped);
  $("drops-count").textContent = number.format(rules.reduce((sum, [, count]) => sum + count, 0));
  $("drops-list").replaceChildren(...rules.map(([rule, count]) => element("li", `${rule}: ${number.format(count)}`)));
}

function clearLog() {
  lastSeq = 0;
  $("log").tBodies[0].replaceChildren();
  $("log-empty").hidden = false;
}

async function showRequests() {
  const entries = await get(`/control/requests?limit=${LOG_ROWS}&after=${lastSeq}`);
  if (!entries.length) return;
  lastSeq = entries[0].seq;
  const body = $("log").tBodies[0];
  body.prepend(...entries.map(logRow));
  const rows = body.querySelectorAll("tr.entry");
  for (const old of [...rows].slice(LOG_ROWS)) { closeAnswer(old); old.remove(); }
  $("log-empty").hidden = true;
}

function logRow(entry) {
  const row = element("tr", undefined, "entry");
  row.tabIndex = 0;
  const status = element("td", entry.status || "none", rank(entry.status));
  if (entry.rejected) status.append(element("span", `${entry.rejected} rejected`, "fault"));
  if (entry.fault) status.append(element("span", entry.fault, "fault"));
  row.append(
    element("td", entry.seq, "quiet"),
    element("td", clock.format(entry.at * 1000)),
    element("td", `${entry.method} ${entry.path.replace("/users/", "")}`),
    element("td", Object.entries(entry.counts).map(([name, count]) => `${count} ${count === 1 ? name.replace(/s$/, "") : name}`).join(", ") || "–"),
    status,
    element("td", entry.ms, "number"),
  );
  const toggle = () => toggleAnswer(row, entry);
  row.addEventListener("click", toggle);
  row.addEventListener("keydown", (event) => { if (event.key === "Enter") toggle(); });
  return row;
}

function rank(status) {
  if (status >= 200 && status < 300) return "ok";
  return status >= 400 && status < 500 ? "refused" : "failed";
}

function toggleAnswer(row, entry) {
  if (closeAnswer(row)) return;
  const detail = element("tr", undefined, "detail");
  const cell = element("td", `key ${entry.key || "none"}, ${number.format(entry.size)} bytes\n${entry.answer}`, "answer code");
  cell.colSpan = 6;
  detail.append(cell);
  row.after(detail);
}

function closeAnswer(row) {
  const next = row.nextElementSibling;
  if (!next || !next.classList.contains("detail")) return false;
  next.remove();
  return true;
}

async function showMatches() {
  const prefix = $("prefix").value;
  const ids = await get(`/control/profiles?limit=${MATCHES + 1}&prefix=${encodeURIComponent(prefix)}`);
  if (prefix !== $("prefix").value) return;
  $("matches").replaceChildren(...ids.slice(0, MATCHES).map(matchRow));
  $("matches-note").textContent = ids.length > MATCHES ? `The first ${MATCHES}; type more of the id to narrow it down.`
    : ids.length ? "" : prefix ? "No profile's external id starts like this." : "No profile yet.";
}

function matchRow(id) {
  const item = element("li");
  const button = element("button", id);
  button.type = "button";
  button.setAttribute("aria-pressed", String(id === shown));
  button.addEventListener("click", () => { shown = id; run(showProfile(id), showMatches()); });
  item.append(button);
  return item;
}

async function showProfile(id) {
  const profile = await get(`/control/profile?external_id=${encodeURIComponent(id)}`);
  if (id !== shown) return;
  $("profile").hidden = false;
  if (!profile) {
    $("profile").replaceChildren(element("h2", id), element("p", "This profile has been deleted.", "quiet"));
    return;
  }
  const revenue = Object.entries(profile.revenue).map(([currency, amount]) => `${group(amount)} ${currency}`);
  $("profile").replaceChildren(
    element("h2", profile.external_id),
    element("p", `Revenue ${revenue.join(", ") || "0"}, since ${profile.created_at}`, "quiet"),
    ...part("Attributes", Object.entries(profile.attributes).map(([name, value]) => [name, text(value)])),
    ...part(`Events (${number.format(profile.events.length)})`, recent(profile.events, eventRow)),
    ...part(`Purchases (${number.format(profile.purchases.length)})`, recent(profile.purchases, purchaseRow)),
  );
}

const recent = (items, row) => items.slice(-RECENT).reverse().map(row);
const eventRow = (event) => [event.name, `${event.time} ${text(event.properties)}`];
const purchaseRow = (sale) => [sale.product_id,
  `${sale.quantity} × ${sale.price} ${sale.currency} at ${sale.time} ${text(sale.properties)}`];
const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));

function part(heading, rows) {
  if (!rows.length) return [element("h3", heading), element("p", "None.", "quiet")];
  const table = element("table");
  const body = table.createTBody();
  for (const [name, value] of rows) body.insertRow().append(element("td", name), element("td", value));
  const note = rows.length === RECENT ? [element("p", `The newest ${RECENT}.`, "quiet")] : [];
  return [element("h3", heading), table, ...note];
}

function showConnection(isLive) {
  $("connection").textContent = isLive ? "live" : "the sandbox does not answer";
  $("connection").className = isLive ? "live" : "lost";
}

async function run(...work) {
  try {
    await Promise.all(work);
    showConnection(true);
  } catch {
    showConnection(false);
  }
}

async function tick() {
  if (!document.hidden) await run(refresh());
  setTimeout(tick, PERIOD);
}

$("address").textContent = location.origin;
$("search").addEventListener("submit", (event) => event.preventDefault());
$("prefix").addEventListener("input", () => run(showMatches()));
tick();
