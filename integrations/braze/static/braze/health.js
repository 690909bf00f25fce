// Keeps a health page fresh: its live part comes anew every two seconds while it is looked at, its charts are redrawn.
(function () {
  "use strict";
  const EVERY_MS = 2000;
  // A page takes a second or two at most. Without an end, one answer that never came would leave the last state on the
  // page, as if it were new.
  const LONGEST_MS = 10000;
  // Names of the stylesheet's colours, which differ by light and dark.
  const COLOURS = ["--teal", "--amber", "--violet", "--grey"];
  const BAD_COLOURS = ["--red", "--amber", "--grey", "--violet"];
  const live = document.getElementById("live");
  const charts = {};

  function data() {
    return JSON.parse(document.getElementById("chart-data").textContent);
  }

  // As times are written everywhere else on the page: on its clock, which need not be the browser's, and by 24 hours.
  function clock(at, zone, seconds) {
    return at.toLocaleTimeString("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit", second: seconds });
  }

  function label(time, found) {
    const at = new Date(time);
    const day = at.toLocaleDateString("en-GB", { timeZone: found.zone, weekday: "short", day: "numeric" });
    return found.period === "week" ? day + " " + clock(at, found.zone) : clock(at, found.zone);
  }

  function style() {
    const shown = getComputedStyle(document.documentElement);
    return (name) => shown.getPropertyValue(name).trim();
  }

  function datasets(series, colours, colour, isBar) {
    return Object.entries(series).map(([name, values], index) => ({
      label: name,
      data: values,
      backgroundColor: colour(colours[index % colours.length]),
      borderColor: colour(colours[index % colours.length]),
      borderWidth: isBar ? 0 : 2,
      pointRadius: 0,
    }));
  }

  function draw(id, type, series, colours, found) {
    const labels = found.times.map((time) => label(time, found));
    const isBar = type === "bar";
    const colour = style();
    const theme = colour("--page");
    const sets = datasets(series, colours, colour, isBar);
    if (charts[id]?.theme === theme) {
      charts[id].data.labels = labels;
      sets.forEach((set, index) => { charts[id].data.datasets[index].data = set.data; });
      charts[id].update("none");
      return;
    }
    charts[id]?.destroy();  // light and dark were switched on the page
    const ticks = { color: colour("--quiet"), maxRotation: 0, autoSkipPadding: 16, precision: isBar ? 0 : undefined };
    charts[id] = new Chart(document.getElementById(id), {
      type,
      data: { labels, datasets: sets },
      options: {
        animation: false,
        maintainAspectRatio: false,
        interaction: { mode: "index", intersect: false },
        plugins: { legend: { position: "bottom", labels: { color: ticks.color, boxWidth: 12 } } },
        scales: {
          x: { stacked: isBar, ticks, grid: { display: false } },
          y: { stacked: isBar, ticks, grid: { color: colour("--line") }, beginAtZero: true },
        },
      },
    });
    charts[id].theme = theme;
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
      const answer = await fetch(live.dataset.url, {
        headers: { "X-Requested-With": "fetch" },
        redirect: "error",
        signal: AbortSignal.timeout(LONGEST_MS),
      });
      if (!answer.ok) throw new Error(String(answer.status));
      replace(await answer.text());
      fresh.textContent = "Refreshed at " + clock(new Date(), data().zone, "2-digit") + " " + data().zone;
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

  Chart.defaults.font.family = "Inter, sans-serif";
  show();
  document.fonts.ready.then(show);  // what was drawn before the font was there is drawn in another one
  setTimeout(loop, EVERY_MS);
})();
