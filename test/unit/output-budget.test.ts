import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OutputBudget } from '../../src/sandbox/session/shell/output-budget.ts';

function holders(budget: OutputBudget) {
  const gaveUp: string[] = [];
  const holder = (name: string) => ({ giveUp: () => void gaveUp.push(name) });
  const [a, b, c] = [holder('a'), holder('b'), holder('c')];
  return { a, b, c, gaveUp, total: () => budget.total };
}

test('over the limit the one noted longest ago gives up, and no more than needed', () => {
  const budget = new OutputBudget(10);
  const { a, b, c, gaveUp } = holders(budget);
  budget.note(a, 4);
  budget.note(b, 4);
  budget.note(a, 5);
  assert.deepEqual([gaveUp, budget.total], [[], 9]);
  budget.note(c, 5);
  assert.deepEqual([gaveUp, budget.total], [['b'], 10]);
  budget.note(c, 10);
  assert.deepEqual([gaveUp, budget.total], [['b', 'a'], 10]);
});

test('one that holds more than all may is asked as well', () => {
  const budget = new OutputBudget(10);
  const { a, gaveUp } = holders(budget);
  budget.note(a, 11);
  assert.deepEqual([gaveUp, budget.total], [['a'], 0]);
});

test('one that is done no longer counts', () => {
  const budget = new OutputBudget(10);
  const { a, b, gaveUp } = holders(budget);
  budget.note(a, 8);
  budget.note(a, 0);
  budget.note(b, 8);
  assert.deepEqual([gaveUp, budget.total], [[], 8]);
});
