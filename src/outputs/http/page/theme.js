// Runs before the page is drawn: ?theme=light or ?theme=dark wins over what the system prefers.
const theme = new URLSearchParams(location.search).get("theme");
if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
