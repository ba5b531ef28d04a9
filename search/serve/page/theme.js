// Runs before the first paint, so that a chosen theme does not flash in.
try {
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // Storage is switched off: the theme follows the system.
}
