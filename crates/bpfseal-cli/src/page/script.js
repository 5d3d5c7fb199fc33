// Search, and what folds. The page says all without it.
(() => {
  "use strict";
  const box = document.querySelector(".search");
  const input = document.getElementById("search");
  const found = document.getElementById("found");
  const folds = [...document.querySelectorAll("details")];
  box.hidden = false;

  const text = (node) => node.textContent.toLowerCase();
  const programs = [...document.querySelectorAll("article.program")].map((node) => ({
    node,
    fold: node.querySelector("details.code"),
    facts: [...node.querySelectorAll("h3, dd")].map(text).join(" "),
    lines: [...node.querySelectorAll(".insn, .source, .function")],
  }));
  const rows = [...document.querySelectorAll("#maps tbody tr, #steps li")];

  const clear = () => {
    for (const node of document.querySelectorAll(".hit, .miss")) node.classList.remove("hit", "miss");
    found.textContent = "";
  };

  const search = () => {
    clear();
    const words = input.value.trim().toLowerCase();
    if (words === "") return;
    let hits = 0;
    for (const program of programs) {
      const named = program.facts.includes(words);
      const lines = program.lines.filter((line) => text(line).includes(words));
      for (const line of lines) line.classList.add("hit");
      hits += lines.length + (named ? 1 : 0);
      if (lines.length > 0) program.fold.open = true;
      if (!named && lines.length === 0) program.node.classList.add("miss");
    }
    for (const row of rows) {
      if (text(row).includes(words)) {
        row.classList.add("hit");
        hits += 1;
      } else {
        row.classList.add("miss");
      }
    }
    found.textContent = hits === 0 ? "nothing found" : hits === 1 ? "1 found" : `${hits} found`;
  };

  let later = 0;
  input.addEventListener("input", () => {
    clearTimeout(later);
    later = setTimeout(search, 120);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== input) {
      event.preventDefault();
      input.focus();
    } else if (event.key === "Escape" && document.activeElement === input) {
      input.value = "";
      clear();
      input.blur();
    }
  });

  // A link to an instruction opens what it is folded into.
  const unfold = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const fold = target && target.closest("details");
    if (fold && !fold.open) {
      fold.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", unfold);
  unfold();

  // Paper has no folds.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = folds.filter((fold) => !fold.open);
    for (const fold of closed) fold.open = true;
  });
  addEventListener("afterprint", () => {
    for (const fold of closed) fold.open = false;
  });
})();
