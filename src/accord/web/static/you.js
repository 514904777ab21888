// One's password, and what one says of oneself.

import { send } from "./server.js";

const byId = (id) => document.getElementById(id);
const words = (id) => byId(id).value.split(",").map((word) => word.trim()).filter(Boolean);

function onSubmit(form, work, done) {
  byId(form).addEventListener("submit", async (event) => {
    event.preventDefault();
    byId("problem").hidden = byId("notice").hidden = true;
    try {
      await work();
      byId("notice").textContent = done;
      byId("notice").hidden = false;
    } catch (error) {
      byId("problem").textContent = `${error.message}.`;
      byId("problem").hidden = false;
    }
    scrollTo(0, 0);
  });
}

onSubmit("declare", () => send("PUT", "/api/you", { languages: words("languages"), groups: words("groups") }), "It is saved.");
onSubmit(
  "change",
  async () => {
    await send("PUT", "/api/password", { password: byId("password").value });
    byId("password").value = "";
  },
  "From now on you sign in with the new password.",
);
