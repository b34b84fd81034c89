// What the page cannot do as HTML: draw the chart, copy an address, call the API, say that the server is gone.
"use strict";

(() => {
  const CHART_HEIGHT = 180;
  const VERDICTS = ["sanctioned", "unsanctioned", "suspicious"];
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let plot = null;
  let drawn = "";

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  // Bars stand on each other: the first series drawn is the sum of all, the last is the lowest part.
  const stack = ([times, ...columns]) => {
    const sums = times.map(() => 0);
    const stacked = columns.map((column) => column.map((value, at) => (sums[at] += value)));
    return [times, ...stacked.reverse()];
  };

  const options = (width, columns) => {
    const series = VERDICTS.map((verdict, at) => ({
      label: verdict,
      fill: colour(`chart-${verdict}`),
      stroke: colour(`chart-${verdict}`),
      width: 0,
      points: { show: false },
      paths: window.uPlot.paths.bars({ size: [0.8, 24], align: 1 }),
      value: (_, __, ___, index) => (index === null ? "–" : String(columns[at][index])),
    })).reverse();
    const axis = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    return {
      width,
      height: CHART_HEIGHT,
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      legend: { live: true },
      padding: [12, 24, 0, 0],
      scales: { y: { range: (_, __, max) => [0, Math.max(4, Math.ceil(max * 1.1))] } },
      axes: [
        { ...axis, grid: { show: false }, values: (_, ticks) => ticks.map(clock) },
        { ...axis, size: 40, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10000] },
      ],
      series: [{ label: "time", value: (_, at) => (at === null ? "–" : clock(at)) }, ...series],
    };
  };

  const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

  const draw = (again) => {
    const target = document.getElementById("chart");
    if (!target) return;
    const text = document.getElementById("chart-series").dataset.series;
    if (text === drawn && !again) return;
    drawn = text;
    const [times, ...columns] = JSON.parse(text);
    if (plot) plot.destroy();
    plot = new window.uPlot(options(target.clientWidth, columns), stack([times, ...columns]), target);
  };

  const copy = async (button) => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
    window.setTimeout(() => (button.textContent = "Copy"), 1500);
  };

  // A call of the API: its refusal is said in its own words, its success shows the page anew, or the one at `then`.
  const call = async (path, body, method = "POST", then = "") => {
    const refused = document.getElementById("refused");
    refused.hidden = true;
    const token = document.querySelector('meta[name="csrf-token"]');
    const headers = { "Content-Type": "application/json", ...(token && { "X-CSRF-Token": token.content }) };
    const response = await fetch(path, { method, headers, body }).catch(() => null);
    if (response && response.ok) return done(response, then);
    const problem = response ? await response.json().catch(() => ({})) : { detail: "The server does not answer. Try again." };
    refused.textContent = [problem.title, problem.detail].filter(Boolean).join(": ") || `The server answered ${response.status}.`;
    refused.hidden = false;
    refused.scrollIntoView({ block: "nearest" });
  };

  // A token that was made is shown this once; everything else shows in the page itself.
  const done = async (response, then) => {
    const made = await response.json().catch(() => ({}));
    if (!made.token) return then ? window.location.assign(then) : window.location.reload();
    const shown = document.getElementById("made-token");
    shown.querySelector("code").textContent = made.token;
    shown.querySelector("[data-copy]").dataset.copy = made.token;
    shown.hidden = false;
    shown.scrollIntoView({ block: "nearest" });
  };

  // The fields of a form as JSON: empty ones are left out, `data-type` says which are lists or numbers.
  const fieldsOf = (form) => {
    const fields = {};
    for (const field of form.elements) {
      if (!field.name || field.type === "submit") continue;
      if (field.type === "checkbox") {
        if (field.checked) (fields[field.name] ??= []).push(field.value);
        continue;
      }
      const value = field.value.trim();
      if (value === "" && field.dataset.type !== "nullable") continue;
      if (field.dataset.type === "nullable") fields[field.name] = value || null;
      else if (field.dataset.type === "list") fields[field.name] = value.split(/[\s,]+/);
      else fields[field.name] = field.dataset.type === "number" ? Number(value) : value;
    }
    return fields;
  };

  // Every finding that is ticked, changed as the pressed button says.
  const change = (button) => {
    const ids = [...document.querySelectorAll("input[name=finding]:checked")].map((box) => box.value);
    if (ids.length) call(button.dataset.bulk, JSON.stringify({ ids, ...JSON.parse(button.dataset.body) }));
  };

  const submit = async (form) => {
    const buttons = [...form.querySelectorAll("button")];
    buttons.forEach((button) => (button.disabled = true));
    await call(form.dataset.call, JSON.stringify(fieldsOf(form)), form.dataset.method);
    buttons.forEach((button) => (button.disabled = false));
  };

  const setOffline = (isOffline) => (document.getElementById("offline").hidden = !isOffline);

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
    const bulk = event.target.closest("button[data-bulk]");
    if (bulk) change(bulk);
    const caller = event.target.closest("button[data-call]");
    if (caller && (!caller.dataset.confirm || window.confirm(caller.dataset.confirm))) call(caller.dataset.call, caller.dataset.body, caller.dataset.method, caller.dataset.then);
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.dataset.call) return;
    event.preventDefault();
    submit(event.target);
  });
  document.addEventListener("htmx:after:swap", () => { setOffline(false); draw(false); });
  document.addEventListener("htmx:error", () => setOffline(true));
  document.addEventListener("htmx:response:error", () => setOffline(true));
  document.addEventListener("DOMContentLoaded", () => draw(true));
  dark.addEventListener("change", () => draw(true));
  window.addEventListener("resize", () => draw(true));
})();
