// What the page cannot do as HTML: draw the chart, copy an address, call the API, say that the server is gone.
"use strict";

(() => {
  const CHART_HEIGHT = 180;
  const DRAFT_MS = 400;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const plots = new Map(); // by the id of the place: the plot, and the numbers that it shows

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  // Bars stand on each other: the first series drawn is the sum of all, the last is the lowest part.
  const stack = ([times, ...columns]) => {
    const sums = times.map(() => 0);
    const stacked = columns.map((column) => column.map((value, at) => (sums[at] += value)));
    return [times, ...stacked.reverse()];
  };

  const options = (width, columns, names, [say, mark, step]) => {
    const series = names.map((name, at) => ({
      label: name,
      fill: colour(`chart-${name}`),
      stroke: colour(`chart-${name}`),
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
      scales: { x: { range: (_, min, max) => [min, max + step] }, y: { range: (_, __, max) => [0, Math.max(4, Math.ceil(max * 1.1))] } },
      axes: [
        { ...axis, grid: { show: false }, space: 70, incrs: mark === date ? DAYS : MINUTES, values: (_, ticks) => ticks.map(mark) },
        { ...axis, size: 40, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10000] },
      ],
      series: [{ label: "time", value: (_, at) => (at === null ? "–" : say(at)) }, ...series],
    };
  };

  const DATE = { month: "short", day: "numeric" };
  const TIME = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], TIME);
  const date = (seconds) => new Date(seconds * 1000).toLocaleDateString([], DATE);
  const dateAndClock = (seconds) => new Date(seconds * 1000).toLocaleString([], { ...DATE, ...TIME });
  const DAY_S = 86400;
  const MINUTES = [1, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440].map((minutes) => minutes * 60);
  const DAYS = [1, 2, 5, 10, 30].map((days) => days * DAY_S);

  const drawOne = (target, again) => {
    const { series: text, names } = document.getElementById(`${target.id}-series`).dataset;
    const old = plots.get(target.id);
    if (old && old.text === text && old.target === target && !again) return;
    if (old) old.plot.destroy();
    const [times, ...columns] = JSON.parse(text);
    const step = times[1] - times[0];
    const words = times.at(-1) - times[0] > 2 * DAY_S ? [dateAndClock, date, step] : [clock, clock, step];
    const plot = new window.uPlot(options(target.clientWidth, columns, names.split(" "), words), stack([times, ...columns]), target);
    plots.set(target.id, { plot, text, target });
  };

  const draw = (again) => document.querySelectorAll(".chart").forEach((target) => drawOne(target, again));

  const copy = async (button) => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
    window.setTimeout(() => (button.textContent = "Copy"), 1500);
  };

  const tell = (id, text) => {
    for (const other of ["refused", "said"]) document.getElementById(other).hidden = other !== id;
    const shown = document.getElementById(id);
    shown.textContent = text;
    shown.scrollIntoView({ block: "nearest" });
  };

  const send = (path, body, method) => {
    const token = document.querySelector('meta[name="csrf-token"]');
    const headers = { "Content-Type": "application/json", ...(token && { "X-CSRF-Token": token.content }) };
    return fetch(path, { method, headers, body }).catch(() => null);
  };

  // A call of the API: its refusal is said in its own words, its success by `say`, by the page at `then`, or by this page anew.
  const call = async (path, body, { method = "POST", then = "", say = "" }) => {
    document.getElementById("refused").hidden = true;
    const response = await send(path, body, method);
    if (response && response.ok) return say ? tell("said", say) : done(response, then);
    const problem = response ? await response.json().catch(() => ({})) : { detail: "The server does not answer. Try again." };
    tell("refused", [problem.title, problem.detail].filter(Boolean).join(": ") || `The server answered ${response.status}.`);
    if (response && isStale(response)) offerSignIn();
  };

  // What is dangerous asks for a fresh proof of who somebody is (RFC 9470).
  const isStale = (response) => (response.headers.get("WWW-Authenticate") ?? "").includes("insufficient_user_authentication");
  const offerSignIn = () => {
    const link = document.createElement("a");
    link.href = `/sign-in?${new URLSearchParams({ step_up: "1", next: window.location.pathname + window.location.search })}`;
    link.textContent = "Sign in again";
    document.getElementById("refused").append(" ", link, ", then do it once more.");
  };

  // A token or secret that was made is shown this once; everything else shows in the page itself.
  const done = async (response, then) => {
    const made = await response.json().catch(() => ({}));
    const secret = made.token || made.secret;
    if (!secret) return then ? window.location.assign(then) : window.location.reload();
    const shown = document.getElementById("shown-once");
    shown.querySelector("code").textContent = secret;
    shown.querySelector("[data-copy]").dataset.copy = secret;
    shown.hidden = false;
    shown.scrollIntoView({ block: "nearest" });
  };

  // What was entered in a field, undefined for nothing; `data-type` says which are lists, numbers, flags, days (to their end).
  const valueOf = (field) => {
    const kind = field.dataset.type;
    if (kind === "flag") return field.checked;
    if (field.type === "checkbox") return field.checked ? [field.value] : undefined;
    if (field.multiple) return [...field.selectedOptions].map((option) => option.value);
    const value = field.value.trim();
    if (kind === "nullable") return value || null;
    if (value === "") return undefined;
    if (kind === "day") return `${value}T23:59:59Z`;
    if (kind === "list") return value.split(/[\s,]+/);
    return kind === "number" ? Number(value) : value;
  };

  // The fields of a form as JSON: `target.url` is a member of `target`; boxes of one name are one list, empty when none is ticked.
  const fieldsOf = (form) => {
    const fields = {};
    for (const field of form.elements) {
      if (!field.name || field.type === "submit") continue;
      const path = field.name.split(".");
      const name = path.pop();
      const within = path.reduce((inner, part) => (inner[part] ??= {}), fields);
      const value = valueOf(field);
      if (field.type === "checkbox" && field.dataset.type !== "flag") within[name] = [...(within[name] ?? []), ...(value ?? [])];
      else if (value !== undefined) within[name] = value;
    }
    return fields;
  };

  // Every finding that is ticked, changed as the pressed button says.
  const change = (button) => {
    const ids = [...document.querySelectorAll("input[name=finding]:checked")].map((box) => box.value);
    if (ids.length) call(button.dataset.bulk, JSON.stringify({ ids, ...JSON.parse(button.dataset.body) }), {});
  };

  // A path whose `{name}` is a field of the form, and the other fields.
  const filled = (path, { ...fields }) => {
    const whole = path.replace(/\{(\w+)\}/g, (_, name) => {
      const value = fields[name];
      delete fields[name];
      return encodeURIComponent(value);
    });
    return [whole, fields];
  };

  const submit = async (form) => {
    window.clearTimeout(drafting);  // what is made is a draft no more
    const buttons = [...form.querySelectorAll("button")];
    buttons.forEach((button) => (button.disabled = true));
    const [path, fields] = filled(form.dataset.call, fieldsOf(form));
    await call(path, JSON.stringify(fields), form.dataset);
    buttons.forEach((button) => (button.disabled = false));
  };

  // What a change of the policy would do, shown in `region`; `wrong` is told which fields cannot be kept.
  const POLICY = "/policy/preview";
  let asked = 0;
  let drafting = 0;
  const preview = async (path, draft, region, wrong) => {
    const mine = ++asked;
    const response = await send(path, JSON.stringify(draft), "POST");
    const isGood = response && response.ok;
    const text = isGood ? await response.text() : "";
    const problem = isGood || !response ? {} : await response.json().catch(() => ({}));
    if (mine !== asked) return;
    region.innerHTML = text;
    if (!isGood) region.append(notice(problem.detail || "The server does not answer. Try again."));
    wrong(problem.errors ?? []);
  };

  const notice = (text) => {
    const said = document.createElement("p");
    said.className = "notice bad";
    said.textContent = text;
    return said;
  };

  // While a form is filled in: nobody must answer for a draft, all else that is required must be there.
  const draft = (form) => {
    const region = form.querySelector(".preview") ?? form.appendChild(Object.assign(document.createElement("div"), { className: "preview" }));
    region.setAttribute("role", "status");
    region.id ||= `preview-${form.dataset.draft}`;
    const wrong = (errors) => {
      const names = errors.map((row) => row.parameter.split(".").pop());
      for (const field of form.elements) {
        const isWrong = names.includes(field.name) || (field.name === "service" && names.includes(field.value));
        if (isWrong) {
          field.setAttribute("aria-invalid", "true");
          field.setAttribute("aria-describedby", region.id);
        } else {
          field.removeAttribute("aria-invalid");
          field.removeAttribute("aria-describedby");
        }
      }
    };
    const isMissing = (field) => field.required && !["owner", "reason"].includes(field.name) && !field.value.trim();
    if ([...form.elements].some(isMissing)) {
      asked += 1;
      region.replaceChildren();
      return wrong([]);
    }
    if (form.dataset.look) return preview(...filled(form.dataset.look, draftFieldsOf(form)), region, wrong);
    return preview(POLICY, drafted(form), region, wrong);
  };

  const draftFieldsOf = (form) => ({ owner: "draft", reason: "draft", ...fieldsOf(form) });

  // The change of the policy that a form stands for.
  const drafted = (form) => {
    const fields = draftFieldsOf(form);
    return { [form.dataset.draft]: form.dataset.draft === "decisions" ? { [fields.service]: fields.decision } : [fields] };
  };

  // Whether somebody agrees to what a button or form would do, once they saw it.
  const agreed = (asking) => {
    const dialog = document.getElementById("agree");
    dialog.querySelector("h2").textContent = asking.dataset.confirm;
    const region = dialog.querySelector(".preview");
    region.replaceChildren();
    preview(POLICY, asking.tagName === "FORM" ? drafted(asking) : JSON.parse(asking.dataset.draft), region, () => {});
    dialog.returnValue = "";
    dialog.showModal();
    return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "go"), { once: true }));
  };

  const isMeant = (asking) => !asking.dataset.confirm || (asking.dataset.draft ? agreed(asking) : window.confirm(asking.dataset.confirm));

  document.addEventListener("input", (event) => {
    const form = event.target.closest("form[data-draft]:not([data-confirm])");
    if (!form) return;
    window.clearTimeout(drafting);
    drafting = window.setTimeout(() => draft(form), DRAFT_MS);
  });

  const setOffline = (isOffline) => (document.getElementById("offline").hidden = !isOffline);

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
    const bulk = event.target.closest("button[data-bulk]");
    if (bulk) change(bulk);
    const caller = event.target.closest("button[data-call]");
    if (caller && (await isMeant(caller))) call(caller.dataset.call, caller.dataset.body, caller.dataset);
  });
  document.addEventListener("submit", async (event) => {
    if (!event.target.dataset.call) return;
    event.preventDefault();
    if (await isMeant(event.target)) submit(event.target);
  });
  document.addEventListener("htmx:after:swap", () => { setOffline(false); draw(false); });
  document.addEventListener("htmx:error", () => setOffline(true));
  document.addEventListener("htmx:response:error", () => setOffline(true));
  // On a phone the sections are a line that scrolls: the one that is shown is in sight.
  const showSection = () => {
    const here = document.querySelector("nav [aria-current]");
    if (here) here.parentElement.scrollLeft = here.offsetLeft - here.parentElement.offsetLeft - 16;
  };

  document.addEventListener("DOMContentLoaded", () => { draw(true); showSection(); });
  dark.addEventListener("change", () => draw(true));
  window.addEventListener("resize", () => draw(true));
})();
