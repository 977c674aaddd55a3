import { defineConfig } from 'vitest/config'

/** Where `npm run dev` finds a running server. */
const SERVER = process.env['RECOLABEL_URL'] ?? 'http://127.0.0.1:8737'

export default defineConfig({
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: '../backend/recolabel/static',
    emptyOutDir: true,
    target: 'es2022',
    // The server's Content-Security-Policy allows scripts and styles from files only: nothing may become inline.
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  server: {
    port: 5173,
    proxy: { '/api': { target: SERVER, changeOrigin: true }, '/healthz': { target: SERVER, changeOrigin: true } },
  },
  test: {
    environment: 'happy-dom',
    include: ['src/**/*.test.{ts,tsx}'],
    // Two cores are shared with the other tests.
    maxWorkers: 2,
    testTimeout: 10_000,
    restoreMocks: true,
  },
})
