export { serve as up } from './serve.ts';
