// The button in the page's head.

import { send } from "./server.js";

const button = document.getElementById("sign-out");
button.disabled = false;
button.addEventListener("click", async () => {
  await send("POST", "/sign-out");
  location.assign("/sign-in");
});
