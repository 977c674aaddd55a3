import { render } from 'preact'
import { App } from './app'
import './styles/tokens.css'
import './styles/base.css'
import './styles/pages.css'
import './styles/comparison.css'
import './styles/evaluation.css'

const root = document.getElementById('app')
if (root !== null) render(<App />, root)
