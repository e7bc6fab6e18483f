"use strict";
// Charts: one Vega for all of them, drawn as SVG so that they print sharply.
(() => {
  const given = document.getElementById("chart-config");
  const config = JSON.parse(given.textContent);
  const places = [...document.querySelectorAll(".chart")];
  const drawn = places.map((place) =>
    vegaEmbed(place.querySelector(".drawing"), JSON.parse(place.querySelector("script").textContent), {
      mode: "vega-lite", renderer: "svg", actions: false, config,
    }).catch((error) => {
      place.querySelector(".drawing").textContent = given.dataset.undrawn + error.message;
      console.error(error);
    })
  );
  Promise.all(drawn).then(() => document.documentElement.setAttribute("data-drawn", places.length));
})();

// What takes many screens of a phone is folded away there, one touch from being read.
if (matchMedia("(max-width: 640px)").matches) {
  document.querySelectorAll("details.wide-open").forEach((part) => part.removeAttribute("open"));
}

// The table of problems. Text from a model only ever enters the page as text nodes.
document.querySelectorAll(".explorer").forEach(async (explorer) => {
  const packed = Uint8Array.from(atob(explorer.querySelector("script").textContent), (c) => c.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const { stages, problems, exact } = await new Response(unpacked).json();
  const [head, body] = [explorer.querySelector("thead"), explorer.querySelector("tbody")];
  const form = explorer.querySelector("form");
  const more = explorer.querySelector(".more");
  const PAGE = 40;
  let shown = PAGE;
  let sorted = { column: -1, down: true };

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };
  const probability = (log10) => {
    if (log10 === null) return "–";
    if (log10 > -3) return Math.pow(10, log10).toFixed(3);
    const exponent = Math.floor(log10 + 1e-9);
    return Math.pow(10, log10 - exponent).toFixed(1) + "e" + exponent;
  };
  const share = (drawn) => (drawn ? drawn[0] / drawn[1] : null);
  // What a stage is sorted and compared by: the exact value where known, else the share of right samples.
  const strength = (problem, s) => {
    if (problem.p[s] !== null) return problem.p[s];
    const got = share(problem.c[s]);
    return got === null ? -Infinity : Math.log10(got || 1e-12);
  };

  const columns = [
    { name: "Problem", key: (p) => p.q },
    { name: "Task", key: (p) => p.t },
    ...stages.map((stage, s) => ({ name: stage.label, key: (p) => strength(p, s) })),
  ];
  head.append(make("tr", {}, ...columns.map((column, i) => {
    const button = make("button", { type: "button" }, column.name);
    button.addEventListener("click", () => {
      sorted = { column: i, down: sorted.column === i ? !sorted.down : i > 1 };
      draw();
    });
    return make("th", { scope: "col", "aria-sort": "none" }, button);
  })));

  const tasks = [...new Set(problems.map((p) => p.t))];
  form.task.append(...tasks.map((task) => make("option", { value: task }, task)));
  const changes = [["all problems", () => true]];
  stages.forEach((stage, s) => {
    if (stage.before === null) return;
    const before = (p) => strength(p, stage.before), after = (p) => strength(p, s);
    const known = (p) => Number.isFinite(before(p)) && Number.isFinite(after(p));
    changes.push([`${stage.label}: raised tenfold or more`, (p) => known(p) && after(p) - before(p) >= 1]);
    changes.push([`${stage.label}: lowered tenfold or more`, (p) => known(p) && after(p) - before(p) <= -1]);
  });
  const sampled = (p) => p.c.some((drawn) => drawn);
  changes.push(["no stage was ever right", (p) => sampled(p) && p.c.every((drawn) => !drawn || !drawn[0])]);
  changes.push(["sampled problems", sampled]);
  changes.push(["a lucky answer among the responses", (p) => p.r.some((list) => list.some((r) => r[1] === "lucky"))]);
  form.change.append(...changes.map(([name], i) => make("option", { value: i }, name)));

  const response = ([text, verdict, times, why], chain) => {
    const said = make("span", { class: "said text" });
    const expected = chain.split(" ");
    text.split(" ").forEach((word, i) => {
      const off = chain && verdict !== "right" && word !== expected[i];
      said.append(i ? " " : "", off ? make("span", { class: "off" }, word) : word);
    });
    if (!text) said.append(make("span", { class: "why" }, "(nothing)"));
    if (why) said.append(make("span", { class: "why" }, why));
    return make("li", { class: "response" }, make("span", { class: "times" }, times + " ×"),
      make("span", { class: "badge " + verdict }, verdict), said);
  };
  const detail = (p) => {
    const inner = make("div", { class: "inner" });
    const part = (title, ...content) => make("div", {}, make("h4", {}, title), ...content);
    inner.append(make("div", { class: "asked" },
      part("Prompt", make("p", { class: "text" }, p.q)),
      part(p.chain ? "Expected" : "Answer", make("p", { class: "text" }, p.chain || p.a)),
      p.notes.length ? part("Step by step", make("ol", { class: "hops" },
        ...p.notes.map(([step, note]) => make("li", {}, make("code", {}, step), " ", make("span", {}, note))))) : ""));
    const grid = make("div", { class: "stages" });
    stages.forEach((stage, s) => {
      const drawn = p.c[s] ? `${p.c[s][0]} of ${p.c[s][1]} right` : "not sampled";
      const title = `${stage.label}: ${p.p[s] === null ? "" : "P = " + probability(p.p[s]) + ", "}${drawn}`;
      grid.append(make("div", {}, make("h4", {}, title), make("ul", {}, ...p.r[s].map((r) => response(r, p.chain)))));
    });
    inner.append(grid);
    return make("tr", { class: "detail-row" }, make("td", { class: "detail", colspan: columns.length }, inner));
  };
  const row = (p) => {
    const open = make("button", { type: "button", class: "open-row", "aria-expanded": "false" }, p.q);
    const cells = stages.map((stage, s) => {
      const bar = make("i");
      const filled = Math.max(0, Math.min(1, 1 + strength(p, s) / 9));
      bar.style.width = 100 * filled + "%";
      bar.style.background = stage.color;
      const drawn = p.c[s] ? `${p.c[s][0]}/${p.c[s][1]}` : "";
      const parts = exact ? [probability(p.p[s]), " ", make("span", { class: "drawn" }, drawn)] : [drawn || "–"];
      return make("td", {}, ...parts, make("span", { class: "meter" }, bar));
    });
    const line = make("tr", { class: "row" }, make("td", { class: "prompt" }, open), make("td", {}, p.t), ...cells);
    line.addEventListener("click", () => {
      const opened = line.classList.toggle("open");
      open.setAttribute("aria-expanded", String(opened));
      if (opened) line.after(detail(p));
      else line.nextElementSibling.remove();
    });
    return line;
  };
  const draw = () => {
    const words = form.text.value.toLowerCase().trim();
    const keep = changes[form.change.value][1];
    let found = problems.filter((p) => (!form.task.value || p.t === form.task.value) && keep(p)
      && (!words || (p.q + " " + p.chain + " " + p.a).toLowerCase().includes(words)));
    if (sorted.column >= 0) {
      const key = columns[sorted.column].key;
      const compare = (a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0);
      found = found.sort((a, b) => (sorted.down ? compare(b, a) : compare(a, b)));
    }
    head.querySelectorAll("th").forEach((th, i) =>
      th.setAttribute("aria-sort", i !== sorted.column ? "none" : sorted.down ? "descending" : "ascending"));
    body.replaceChildren(...found.slice(0, shown).map(row));
    form.querySelector(".found").textContent = `${found.length} of ${problems.length} problems`;
    more.hidden = found.length <= shown;
  };
  form.addEventListener("input", () => { shown = PAGE; draw(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  more.querySelector("button").addEventListener("click", () => { shown += 200; draw(); });
  draw();
  explorer.setAttribute("data-ready", problems.length);
});
