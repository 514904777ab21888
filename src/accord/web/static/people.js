// People and invitations.

import { send } from "./server.js";

const problem = document.getElementById("problem");

async function tried(work) {
  try {
    await work();
    problem.hidden = true;
  } catch (error) {
    problem.textContent = `${error.message}.`;
    problem.hidden = false;
  }
}

function showLink({ path }) {
  const link = document.getElementById("link");
  link.textContent = `Send them this link, which is good once and for a week: ${location.origin}${path}`;
  link.hidden = false;
}

document.getElementById("invite").addEventListener("submit", (event) => {
  event.preventDefault();
  tried(async () => showLink(await send("POST", "/api/invitations", { role: document.getElementById("role").value })));
});

for (const row of document.querySelectorAll("tr[data-user]")) {
  const path = `/api/users/${row.dataset.user}`;
  const select = row.querySelector(".role");
  let role = select.value;
  select.addEventListener("change", () =>
    tried(async () => {
      const wanted = select.value;
      select.value = role;
      await send("PATCH", path, { role: wanted });
      select.value = role = wanted;
    }),
  );
  row.querySelector(".link").addEventListener("click", () => tried(async () => showLink(await send("POST", `${path}/link`))));
  row.querySelector(".out")?.addEventListener("click", () => {
    const name = row.querySelector("td").textContent;
    if (!confirm(`Let ${name} in no more? What they answered stays.`)) return;
    tried(async () => {
      await send("PATCH", path, { active: false });
      row.remove();
    });
  });
}
