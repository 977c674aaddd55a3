import type { ProxyOptions } from 'vite'
import { defineConfig } from 'vitest/config'

/** Where `npm run dev` finds a running server. */
const SERVER = process.env['RECOLABEL_URL'] ?? 'http://127.0.0.1:8737'

/** The server answers its own address only: requests that came to port 5173 say they came to it. */
const asItself: ProxyOptions = {
  changeOrigin: true,
  configure: (proxy) => {
    proxy.on('proxyReq', (request) => {
      if (request.hasHeader('origin')) request.setHeader('origin', new URL(SERVER).origin)
    })
  },
}

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
    // The address that the server's cookie is for; cookies ignore ports.
    host: '127.0.0.1',
    port: 5173,
    proxy: Object.fromEntries(['/api', '/healthz'].map((path) => [path, { target: SERVER, ...asItself }])),
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
