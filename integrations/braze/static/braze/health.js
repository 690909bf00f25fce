// Keeps a health page fresh: its live part comes anew every two seconds while it is looked at, its charts are redrawn.
(function () {
  "use strict";
  const EVERY_MS = 2000;
  const COLOURS = ["#0e7490", "#d97706", "#7c3aed", "#64748b"];
  const BAD_COLOURS = ["#dc2626", "#d97706", "#64748b", "#7c3aed"];
  const live = document.getElementById("live");
  const charts = {};

  function data() {
    return JSON.parse(document.getElementById("chart-data").textContent);
  }

  function label(time, period) {
    const at = new Date(time);
    const clock = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    return period === "week" ? at.toLocaleDateString([], { weekday: "short", day: "numeric" }) + " " + clock : clock;
  }

  function datasets(series, colours, stacked) {
    return Object.entries(series).map(([name, values], index) => ({
      label: name,
      data: values,
      backgroundColor: colours[index % colours.length],
      borderColor: colours[index % colours.length],
      borderWidth: stacked ? 0 : 2,
      pointRadius: 0,
    }));
  }

  function style() {
    const shown = getComputedStyle(document.documentElement);
    return { text: shown.getPropertyValue("--quiet").trim(), line: shown.getPropertyValue("--line").trim() };
  }

  function draw(id, type, series, colours, found) {
    const labels = found.times.map((time) => label(time, found.period));
    const sets = datasets(series, colours, type === "bar");
    if (charts[id]) {
      charts[id].data.labels = labels;
      sets.forEach((set, index) => { charts[id].data.datasets[index].data = set.data; });
      charts[id].update("none");
      return;
    }
    const { text, line } = style();
    const axis = { ticks: { color: text, maxRotation: 0, autoSkipPadding: 16, precision: type === "bar" ? 0 : undefined }, grid: { color: line } };
    charts[id] = new Chart(document.getElementById(id), {
      type,
      data: { labels, datasets: sets },
      options: {
        animation: false,
        maintainAspectRatio: false,
        interaction: { mode: "index", intersect: false },
        plugins: { legend: { position: "bottom", labels: { color: text, boxWidth: 12 } } },
        scales: { x: { ...axis, stacked: type === "bar", grid: { display: false } }, y: { ...axis, stacked: type === "bar", beginAtZero: true } },
      },
    });
  }

  function show() {
    const found = data();
    draw("objects", "line", found.objects, COLOURS, found);
    draw("failures", "bar", found.failures, BAD_COLOURS, found);
    const state = document.getElementById("state-now");
    document.querySelectorAll("[data-when]").forEach((element) => {
      element.hidden = state !== null && element.dataset.when !== state.dataset.state;
    });
  }

  // What has the focus keeps it, so that the page can be used by keyboard while it changes.
  function replace(html) {
    const focused = live.contains(document.activeElement) ? document.activeElement.id : "";
    live.innerHTML = html;
    if (focused) document.getElementById(focused)?.focus();
    show();
  }

  async function refresh() {
    const fresh = document.getElementById("fresh");
    try {
      const answer = await fetch(live.dataset.url, { headers: { "X-Requested-With": "fetch" }, redirect: "error" });
      if (!answer.ok) throw new Error(String(answer.status));
      replace(await answer.text());
      fresh.textContent = "Refreshed at " + new Date().toLocaleTimeString();
      fresh.classList.remove("bad");
    } catch (error) {
      fresh.textContent = "Not refreshed: the server does not answer. It is tried again.";
      fresh.classList.add("bad");
    }
  }

  async function loop() {
    if (!document.hidden) await refresh();
    setTimeout(loop, EVERY_MS);
  }

  Chart.defaults.font.family = "Inter";
  show();
  setTimeout(loop, EVERY_MS);
})();
