"use strict";
/* The page is complete without this: it opens the row that an address names, finds rows by text, and folds. */
(function () {
  var root = document.documentElement;
  var lines = Array.prototype.slice.call(document.querySelectorAll("table.rows tr.r"));
  var cells = Array.prototype.slice.call(document.querySelectorAll(".cell"));
  root.classList.add("scripted");

  function reveal() {
    var row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!row || !row.classList.contains("r")) return;
    row.hidden = false;
    var next = row.nextElementSibling;
    var fold = next && next.classList.contains("m") ? next.querySelector("details") : null;
    if (fold) { next.hidden = false; fold.open = true; }
    row.scrollIntoView({ block: "start" });
  }

  function every(open) {
    document.querySelectorAll("details").forEach(function (fold) { fold.open = open; });
  }

  function find(words) {
    words = words.trim().toLowerCase();
    lines.forEach(function (line) {
      var hidden = line.textContent.toLowerCase().indexOf(words) < 0;
      var next = line.nextElementSibling;
      line.hidden = hidden;
      if (next && next.classList.contains("m")) next.hidden = hidden;
    });
    cells.forEach(function (cell) {
      cell.classList.toggle("away", cell.textContent.toLowerCase().indexOf(words) < 0);
    });
  }

  document.getElementById("open").addEventListener("click", function () { every(true); });
  document.getElementById("close").addEventListener("click", function () { every(false); });
  document.getElementById("find").addEventListener("input", function (event) { find(event.target.value); });
  document.querySelector("form.filter").addEventListener("submit", function (event) { event.preventDefault(); });
  window.addEventListener("hashchange", reveal);
  reveal();
})();
