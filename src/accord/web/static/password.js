// A new password.

import { send } from "./server.js";

const byId = (id) => document.getElementById(id);

byId("change").addEventListener("submit", async (event) => {
  event.preventDefault();
  byId("problem").hidden = byId("notice").hidden = true;
  try {
    await send("PUT", "/api/password", { password: byId("password").value });
    byId("password").value = "";
    byId("notice").textContent = "From now on you sign in with it.";
    byId("notice").hidden = false;
  } catch (error) {
    byId("problem").textContent = `${error.message}.`;
    byId("problem").hidden = false;
  }
});
