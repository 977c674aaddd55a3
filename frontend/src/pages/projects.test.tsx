import { cleanup, fireEvent, render, screen, waitFor } from '@testing-library/preact'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { ProjectsPage } from './projects'

const fetched = vi.fn<typeof fetch>()

beforeEach(() => {
  fetched.mockImplementation(async (_url, init) =>
    init?.method === 'POST' ? Response.json({ project_id: 'p' }) : Response.json([]),
  )
  vi.stubGlobal('fetch', fetched)
  // happy-dom knows no modal dialogs.
  HTMLDialogElement.prototype.showModal = function showModal() {
    this.open = true
  }
})

afterEach(() => {
  cleanup()
  fetched.mockReset()
  vi.unstubAllGlobals()
})

const type = (field: string, text: string) => fireEvent.input(screen.getByTestId(field), { target: { value: text } })
const press = (button: string) => fireEvent.click(screen.getByTestId(button))
const created = () => {
  const call = fetched.mock.calls.find(([, init]) => init?.method === 'POST')
  return call === undefined ? null : (JSON.parse(String(call[1]?.body)) as { classes: { name: string }[] })
}

describe('a new project', () => {
  test('without name and classes is refused, each mistake at its field', () => {
    render(<ProjectsPage />)
    press('create-project')

    press('create-project-submit')

    expect(screen.getByText('Give the project a name.')).toBeTruthy()
    expect(screen.getByText(/^Add at least one class/)).toBeTruthy()
    expect(document.activeElement).toBe(screen.getByTestId('project-name'))
    expect(created()).toBeNull()
  })

  test('takes the class names that are typed but were not added', async () => {
    render(<ProjectsPage />)
    press('create-project')
    type('project-name', 'Street')
    type('class-name-input', 'road, car')

    press('create-project-submit')

    await waitFor(() => expect(created()?.classes.map((one) => one.name)).toEqual(['road', 'car']))
  })

  test('with a double among the typed names is refused and keeps what was typed', () => {
    render(<ProjectsPage />)
    press('create-project')
    type('project-name', 'Street')
    type('class-name-input', 'road, Road')

    press('create-project-submit')

    expect(screen.getByText('“Road” is in the list already.')).toBeTruthy()
    expect(screen.getByTestId<HTMLInputElement>('class-name-input').value).toBe('road, Road')
    expect(created()).toBeNull()
  })
})
