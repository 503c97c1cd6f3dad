export { serve as doctor } from './serve.ts';
