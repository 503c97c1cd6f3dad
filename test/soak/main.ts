import { isFaults } from './plan.ts';

await import(isFaults ? './faults.ts' : './restarts.ts');
