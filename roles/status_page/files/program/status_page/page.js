// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Puts sections that have changed in place of those on the page. The server has escaped all that is in them.
"use strict";

const state = document.getElementById("live");
const source = new EventSource("live");

function say(text, mood) {
  if (state.textContent === text) return;
  state.textContent = text;
  state.className = `badge ${mood}`;
}

source.addEventListener("open", () => say("live", "good"));
source.addEventListener("error", () => say("not live; reload the page", "warn"));
source.addEventListener("signed-out", () => location.reload());
source.addEventListener("sections", (event) => {
  for (const [id, html] of Object.entries(JSON.parse(event.data))) {
    const section = document.getElementById(id);
    // Whoever reads with the keyboard in a section keeps the place: it is renewed once they leave it.
    if (section && !section.contains(document.activeElement)) section.outerHTML = html;
  }
});
