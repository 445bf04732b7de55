// The checkboxes in a list of jobs: one to tick all, and a count of the ticked ones.

const boxes = () => [...document.querySelectorAll('#list input[name="job"]')];
const all = document.querySelector('[data-choose-all]');

function count() {
  if (!all) return;
  const ticked = boxes().filter((box) => box.checked).length;
  const said = document.querySelector('[data-chosen]');
  const text = ticked === 0 ? '' : `${ticked} selected`;
  if (said.textContent !== text) said.textContent = text;
  const box = all.querySelector('input');
  box.checked = ticked > 0 && ticked === boxes().length;
  box.indeterminate = ticked > 0 && !box.checked;
  for (const button of document.querySelectorAll('.bulk button')) button.disabled = ticked === 0;
}

if (all) {
  all.hidden = false;
  all.addEventListener('change', () => {
    const { checked } = all.querySelector('input');
    for (const box of boxes()) box.checked = checked;
    count();
  });
  document.addEventListener('change', count);
  document.addEventListener('orchestra:fresh', count);
  count();
}
